// The comparison's Node server: `ws`, compression off. Usage: node server.js echo|paced|scored
"use strict";
const { WebSocketServer } = require("ws");
const { Typing } = require("./typing.js");

const work = process.argv[2];
const answer = Buffer.from(Array.from({ length: 100 }, (_, i) => i));

// A fortieth of all typists has its turn every 25 ms.
const buckets = Array.from({ length: 40 }, () => new Map());
let turn = 0;
let next = 0;
if (work === "scored") {
  setInterval(() => {
    for (const [socket, typing] of buckets[turn++ % 40]) {
      const message = typing.tick();
      if (message !== null) socket.send(message, { binary: true });
    }
  }, 25);
}

const server = new WebSocketServer(
  { host: "127.0.0.1", port: 0, path: "/ws", perMessageDeflate: false, backlog: 4096 },
  () => console.log(`ready 127.0.0.1:${server.address().port}`),
);
server.on("connection", (socket) => {
  let count = 0;
  let typing = null;
  let bucket = null;
  socket.on("message", (data, isBinary) => {
    if (work === "echo") socket.send(data, { binary: isBinary });
    else if (work === "paced") {
      if (++count % 4 === 0) socket.send(answer, { binary: true });
    } else if (typing === null) { // the first message is the text
      typing = new Typing(data);
      bucket = buckets[next++ % 40];
      bucket.set(socket, typing);
    } else {
      try {
        typing.keys(data);
      } catch {
        socket.terminate();
      }
    }
  });
  socket.on("close", () => bucket?.delete(socket));
  socket.on("error", () => socket.terminate());
});
