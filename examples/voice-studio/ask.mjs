// Sends a command over socket.io as the visitor of a cookie, prints the name of each event that it leads to, and of the last one the
// picture's.

import { io } from "socket.io-client";

const [cookie, text] = process.argv.slice(2);
const socket = io("http://127.0.0.1:5001", {
  path: "/kuvagen/socket.io",
  extraHeaders: { cookie },
});
socket.on("connect_error", (error) => {
  console.error(error.message);
  process.exit(1);
});
socket.on("connect", async () => {
  const done = await socket.emitWithAck("process_command", { text });
  if (done.error) console.error(done.error);
  socket.disconnect();
});
socket.onAny((event, data) => console.log(event, event === "done" ? data.image.name : ""));
