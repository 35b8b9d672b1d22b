"""A server that speaks OpenAI's chat completions and says back what it was told, a word a chunk. It wants a key.

`standin.py PORT` serves until it is stopped.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-example"


class Standin(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers["authorization"] != f"Bearer {KEY}":
            return self.refuse(401, "invalid_api_key", "Incorrect API key provided")
        if self.path != "/v1/chat/completions" or asked["model"] != "parrot-1":
            return self.refuse(404, "model_not_found", f"The model `{asked['model']}` does not exist")
        words = ["you ", "said: ", *asked["messages"][-1]["content"].split(" ")]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for index, word in enumerate(words):
            gap = " " if 1 < index < len(words) - 1 else ""
            self.tell({"choices": [{"index": 0, "delta": {"content": word + gap}, "finish_reason": None}]})
        self.tell({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.tell({"choices": [], "usage": {"prompt_tokens": len(words) - 2, "completion_tokens": len(words)}})
        self.wfile.write(b"data: [DONE]\n\n")

    def tell(self, chunk):
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def refuse(self, status, code, message):
        body = json.dumps({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}})
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Standin).serve_forever()
