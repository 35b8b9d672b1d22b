"""One who says something in a room over a plain WebSocket: a message is a JSON object with `event` and `data`."""

import json
import sys

from websockets.sync.client import connect

room, text = sys.argv[1:]
with connect(f"ws://127.0.0.1:8000/chat/ws?room={room}") as socket:
    print(json.loads(socket.recv()))
    socket.send(json.dumps({"event": "say", "data": text, "id": 1}))
    for message in (json.loads(socket.recv()), json.loads(socket.recv())):
        print(message)
