// One who says something in a room over socket.io, asks for a picture, and leaves.

import { io } from "socket.io-client";

const [room, prompt] = process.argv.slice(2);
const socket = io("http://127.0.0.1:8000", { path: "/chat/socket.io", query: { room } });
socket.on("connect_error", (error) => {
  console.error(error.message);
  process.exit(1);
});
socket.on("connect", async () => {
  console.log("heard by", await socket.emitWithAck("say", "a picture is coming"));
  await socket.emitWithAck("draw", prompt);
  socket.disconnect();
});
