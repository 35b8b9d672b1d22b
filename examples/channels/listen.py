"""One who listens in a room over socket.io, first by polling and then over a WebSocket, until a picture is drawn."""

import sys

import socketio

client = socketio.Client()


@client.on("*")
def heard(event, data):
    print(event, data, flush=True)
    if event == "drawn":
        client.disconnect()


client.connect(f"http://127.0.0.1:8000?room={sys.argv[1]}", socketio_path="/chat/socket.io")
client.wait()
