"""Stands in for llama.cpp's server: answers one chat in OpenAI's form, and says what it was asked."""
import json
from http.server import BaseHTTPRequestHandler, HTTPServer


class Chat(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = asked["messages"][-1]["content"]
        print(self.path, prompt, flush=True)
        reply = {"choices": [{"message": {"role": "assistant", "content": f'"{prompt} in warm evening light"'}}]}
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", 8080), Chat).serve_forever()
