// The comparison's lean Go server: nbio, an epoll loop without a goroutine a connection. Usage: nbio echo|paced|scored
package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
	"typegate/bench/typing"
)

type client struct {
	count  int
	typist *typing.Typist
	end    func()
}

func main() {
	work := os.Args[1]
	logging.SetLevel(logging.LevelNone)
	answer := make([]byte, 100)
	ticker := &typing.Ticker{}
	if work == "scored" {
		go ticker.Run()
	}
	upgrader := websocket.NewUpgrader()
	upgrader.KeepaliveTime = 0
	upgrader.OnMessage(func(connection *websocket.Conn, kind websocket.MessageType, data []byte) {
		var err error
		one := connection.Session().(*client)
		switch {
		case work == "echo":
			err = connection.WriteMessage(kind, data)
		case work == "paced":
			if one.count++; one.count%4 == 0 {
				err = connection.WriteMessage(websocket.BinaryMessage, answer)
			}
		case one.typist == nil:
			one.typist, one.end = ticker.Begin(data, func(message []byte) {
				connection.WriteMessage(websocket.BinaryMessage, message)
			})
		default:
			err = one.typist.Test.Keys(data)
		}
		if err != nil {
			connection.Close()
		}
	})
	upgrader.OnClose(func(connection *websocket.Conn, err error) {
		if one, ok := connection.Session().(*client); ok && one.end != nil {
			one.end()
		}
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		if connection, err := upgrader.Upgrade(w, r, nil); err == nil {
			connection.SetSession(&client{})
		}
	})
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network:        "tcp",
		Addrs:          []string{"127.0.0.1:0"},
		Handler:        mux,
		IOMod:          nbhttp.IOModNonBlocking,
		NPoller:        1,
		ReadBufferSize: 4096,
		// on the poller's own goroutine: nothing here waits
		ServerExecutor: func(call func()) { call() },
	})
	if err := engine.Start(); err != nil {
		panic(err)
	}
	fmt.Printf("ready %s\n", engine.Addrs[0])
	select {}
}
