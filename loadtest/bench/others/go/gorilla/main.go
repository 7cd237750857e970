// The comparison's usual Go server: gorilla/websocket, one goroutine a connection. Usage: gorilla echo|paced|scored
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/gorilla/websocket"
	"typegate/bench/typing"
)

func main() {
	work := os.Args[1]
	answer := make([]byte, 100)
	ticker := &typing.Ticker{}
	if work == "scored" {
		go ticker.Run()
	}
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		connection, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer connection.Close()
		var typist *typing.Typist
		for count := 1; ; count++ {
			kind, data, err := connection.ReadMessage()
			switch {
			case err != nil:
				return
			case work == "echo":
				err = connection.WriteMessage(kind, data)
			case work == "paced":
				if count%4 == 0 {
					err = connection.WriteMessage(websocket.BinaryMessage, answer)
				}
			case typist == nil:
				var lock sync.Mutex
				var end func()
				typist, end = ticker.Begin(data, func(message []byte) {
					lock.Lock()
					defer lock.Unlock()
					connection.WriteMessage(websocket.BinaryMessage, message)
				})
				defer end()
			default:
				err = typist.Test.Keys(data)
			}
			if err != nil {
				return
			}
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("ready 127.0.0.1:%d\n", listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, nil))
}
