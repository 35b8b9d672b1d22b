"""Takes webhooks and writes a line for each that is what it says it is: `python receiver.py PORT FILE`, with the secret in
WEBHOOK_SECRET. The first message is answered as a server in trouble would, so that it comes again."""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

PORT, FILE = int(sys.argv[1]), sys.argv[2]


class Receiver(BaseHTTPRequestHandler):
    refused = set()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            message = Webhook(os.environ["WEBHOOK_SECRET"]).verify(body, dict(self.headers))
        except WebhookVerificationError as error:
            return self.answer(400, f"{error}\n")
        name = self.headers["webhook-id"]
        if not self.refused:
            self.refused.add(name)
            return self.answer(503, "in a moment\n")
        with open(FILE, "a") as told:
            told.write(f"{message['type']} {message['data']['id']} {'again' if name in self.refused else 'at once'}\n")
        self.answer(204, "")

    def answer(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())


HTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
