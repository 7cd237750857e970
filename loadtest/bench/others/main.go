// The comparison's Go server: gorilla/websocket, one goroutine a connection, on one core. Usage: echo echo|paced
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/gorilla/websocket"
)

func main() {
	paced := os.Args[1] == "paced"
	answer := make([]byte, 100)
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		connection, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer connection.Close()
		for count := 1; ; count++ {
			kind, data, err := connection.ReadMessage()
			if err != nil {
				return
			}
			if paced {
				if count%4 != 0 {
					continue
				}
				kind, data = websocket.BinaryMessage, answer
			}
			if connection.WriteMessage(kind, data) != nil {
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
