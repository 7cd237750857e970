// The comparison's Node server: `ws`, compression off. Usage: node echo.js echo|paced
"use strict";
const { WebSocketServer } = require("ws");

const work = process.argv[2];
const answer = Buffer.from(Array.from({ length: 100 }, (_, i) => i));

const server = new WebSocketServer(
  { host: "127.0.0.1", port: 0, path: "/ws", perMessageDeflate: false, backlog: 4096 },
  () => console.log(`ready 127.0.0.1:${server.address().port}`),
);
server.on("connection", (socket) => {
  let count = 0;
  socket.on("message", (data, isBinary) => {
    if (work === "echo") socket.send(data, { binary: isBinary });
    else if (++count % 4 === 0) socket.send(answer, { binary: true });
  });
  socket.on("error", () => socket.terminate());
});
