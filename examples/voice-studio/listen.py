"""Hears what happens to a visitor's commands, over socket.io: prints each event's name, and of the last one the picture's."""

import sys

import socketio

client = socketio.Client()


@client.event
def connect():
    print("connected", flush=True)


@client.on("*")
def heard(event, data):
    print(event, data["image"]["name"] if event == "done" else "", flush=True)
    if event in ("done", "error"):
        client.disconnect()


# the visitor's cookie says whose commands these are
client.connect(
    "http://127.0.0.1:5001",
    headers={"Cookie": sys.argv[1]},
    socketio_path="/kuvagen/socket.io",
)
client.wait()
