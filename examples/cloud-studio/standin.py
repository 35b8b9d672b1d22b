"""A server that speaks OpenAI's and Gemini's interfaces for pictures and speech, and wants a key. Whatever is said to it, it
hears the same command; whatever it is asked to draw, it gives one colour, another for each prompt.

`standin.py PORT` serves until it is stopped.
"""

import base64
import json
import struct
import sys
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-example"
HEARD = "create a red circle on a blue background"
SIDE = 1024


def png(prompt):
    """A picture of one colour, as a PNG file (8 bits each of red, green and blue)."""
    colour = zlib.crc32(prompt.encode()).to_bytes(4, "big")[:3]
    rows = (b"\0" + colour * SIDE) * SIDE

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encoded(prompt):
    return base64.b64encode(png(prompt)).decode()


class Standin(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        keys = [self.headers["authorization"], self.headers["x-goog-api-key"]]
        if f"Bearer {KEY}" not in keys and KEY not in keys:
            return self.answer(401, {"error": {"message": "no such key", "code": "invalid_api_key"}})
        if self.path == "/v1/audio/transcriptions":
            segment = {"start": 0.0, "end": 0.5, "text": HEARD, "avg_logprob": -0.1, "compression_ratio": 1.0,
                       "no_speech_prob": 0.0, "temperature": 0.0}
            return self.answer(200, {"text": HEARD, "language": "english", "segments": [segment]})
        if self.path == "/v1/images/generations":
            return self.answer(200, {"data": [{"b64_json": encoded(json.loads(body)["prompt"])}]})
        if self.path == "/v1/images/edits":
            return self.answer(200, {"data": [{"b64_json": encoded("edited")}]})
        if self.path == "/v1beta/models/gemini-2.5-flash-image:generateContent":
            prompt = json.loads(body)["contents"][0]["parts"][-1]["text"]
            part = {"inlineData": {"mimeType": "image/png", "data": encoded(prompt)}}
            return self.answer(200, {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]})
        return self.answer(404, {"error": {"message": f"nothing is at {self.path}"}})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Standin).serve_forever()
