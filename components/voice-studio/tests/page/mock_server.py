"""The studio's interface without the host: serves the page and answers it with drawn pictures, for development and tests.

    python mock_server.py --port 8100            then open http://127.0.0.1:8100/kuvagen/

Commands go through every event with pauses (`--pace` seconds each). A written command that begins with `fail`, `busy`,
`drop`, `deaf` or `note` shows that odd end. Recordings are not listened to: one after another they are what `HEARD` says.
"""

import argparse
import base64
import email.parser
import email.policy
import functools
import http.cookies
import json
import select
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mock_pictures import picture
from mock_studio import Refused, Studio

PREFIX = "/kuvagen/"
PAGE = Path(__file__).parents[2] / "page"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
STEPS = 8
# characters of a command in writing
LONGEST = 1000
drawn = functools.cache(picture)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(self.get)

    def do_POST(self):
        self.answer(self.post)

    def do_DELETE(self):
        self.answer(self.delete)

    def answer(self, method):
        """Finds the session, runs the method, and sends what it returns or refuses."""
        cookies = http.cookies.SimpleCookie(self.headers.get("cookie", ""))
        sent = cookies["studio"].value if "studio" in cookies else None
        self.cookie, self.session = self.server.studio.session(sent)
        path = unquote(urlsplit(self.path).path)
        try:
            if not path.startswith(PREFIX):
                raise Refused(404, "not_found", "the page is at /kuvagen/")
            method(path.removeprefix(PREFIX))
        except Refused as refusal:
            self.send_json({"error": refusal.error}, refusal.status)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def get(self, path):
        studio, session = self.server.studio, self.session
        if path == "api/check_backend":
            return self.send_json(studio.modes())
        if path == "api/session_info":
            return self.send_json(studio.info(session))
        if path == "gallery":
            return self.send_json({"images": session.images[::-1], "current": session.current})
        if path.startswith("images/"):
            name = path.rsplit("/", 1)[1]
            side = 160 if "/thumbnails/" in path else 384
            saved = {"content-disposition": f'attachment; filename="{name}"'} if self.path.endswith("?download") else {}
            return self.send(drawn(studio.find(session, name)["look"], side), "image/png", headers=saved)
        return self.send_page(path)

    def send_page(self, path):
        name = path.removeprefix("page/") or "index.html"
        file = PAGE / name
        if "/" in name or not file.is_file():
            raise Refused(404, "not_found", f"there is no {path}")
        self.send(file.read_bytes(), TYPES[file.suffix], headers={"content-security-policy": POLICY})

    def post(self, path):
        studio, session = self.server.studio, self.session
        if path == "process_command":
            return self.obey(self.form())
        body = json.loads(self.body() or b"{}")
        if path == "api/current":
            session.current = studio.find(session, body["image"])["name"]
            return self.send_json({"current": session.current})
        if path in ("api/register", "api/login"):
            change = studio.register if path.endswith("register") else studio.login
            change(session, body["name"], body["password"])
        elif path == "api/logout":
            self.cookie, self.session = studio.session(None)
        else:
            raise Refused(404, "not_found", f"there is no {path}")
        return self.send_json(studio.info(self.session))

    def delete(self, path):
        self.server.studio.remove(self.session, path.removeprefix("api/images/"))
        self.send(b"", None, 204)

    # === commands

    def obey(self, form):
        self.server.studio.admit(self.session)
        if len(form.get("text", "")) > LONGEST:
            raise Refused(422, "invalid", f"text has more than {LONGEST} characters", field="text")
        if "image" in form:
            self.session.current = self.server.studio.find(self.session, form["image"])["name"]
        self.send_head(200, "text/event-stream", {"connection": "close"})
        self.close_connection = True
        try:
            self.carry_out(form)
        except Refused as refusal:
            self.event("error", **refusal.error)

    def carry_out(self, form):
        studio, session = self.server.studio, self.session
        self.pause(2)
        text, language = (form["text"], "en") if "text" in form else studio.hear(session, form["language"])
        if form.get("text", "").startswith("deaf"):
            raise Refused(200, "nothing_heard", "silence")
        self.event("transcript", text=text, language=language)
        self.odd_end(text)
        action, prompt = studio.understand(session, text.removeprefix("note "))
        self.pause(1)
        self.event("understood", action=action, prompt=prompt, target="")
        image = None
        if action == "edit" and not session.current:
            raise Refused(200, "nothing_to_edit", "there is no picture yet")
        if action == "undo":
            image = studio.undo(session)
        elif action != "none":
            self.draw(prompt)
            image = studio.keep(session, action, prompt, text, form["mode"])
        notes = ["cloud did not answer; made by local fast"] if text.startswith("note") else []
        self.event("done", action=action, image=image, current=session.current, session=studio.info(session), notes=notes)

    def odd_end(self, text):
        for code in ("fail", "busy"):
            if text.startswith(code):
                raise Refused(200, {"fail": "failed"}.get(code, code), "as asked")
        if text.startswith("drop"):
            raise BrokenPipeError

    def draw(self, prompt):
        for position in (1, 0):
            self.event("queued", position=position, eta_ms=(position + 1) * 4000)
            self.pause(2)
        self.event("loading", model="mock")
        self.pause(1)
        images = {image["name"]: image["look"] for image in self.session.images}
        look = f"{images.get(self.session.current, '')} {prompt}"
        for step in range(1, STEPS + 1):
            self.event("progress", step=step, steps=STEPS, percent=round(100 * step / STEPS))
            if step % 2 == 0 and step < STEPS:
                preview = base64.b64encode(drawn(look, 96, round(0.8 - step / STEPS, 2), step)).decode()
                self.event("preview", step=step, image=f"data:image/png;base64,{preview}")
            self.pause(1)

    def pause(self, beats):
        time.sleep(beats * self.server.pace)
        # nothing to read, and not even the wish to wait: the client is gone, which cancels
        if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
            raise BrokenPipeError

    def event(self, name, **data):
        self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    # === HTTP

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def form(self):
        """The fields of a multipart body, files as bytes."""
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + self.body())
        fields = {}
        for part in message.iter_parts():
            data = part.get_payload(decode=True)
            fields[part.get_param("name", header="content-disposition")] = data if part.get_filename() else data.decode()
        return fields

    def send_json(self, value, status=200):
        self.send(json.dumps(value).encode(), "application/json", status)

    def send(self, body, kind, status=200, headers=None):
        self.send_head(status, kind, {"content-length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def send_head(self, status, kind, headers):
        self.send_response(status)
        if kind:
            self.send_header("content-type", kind)
        self.send_header("set-cookie", f"studio={self.cookie}; Path={PREFIX}; HttpOnly; SameSite=Strict")
        self.send_header("cache-control", "no-store")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(port=0, limit=10, pace=0.25, cloud=False):
    """A server that is bound and not yet running: `server_port` says where."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.studio, server.pace = Studio(limit, cloud), pace
    return server


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=8100)
    options.add_argument("--limit", type=int, default=10)
    options.add_argument("--pace", type=float, default=0.25, help="seconds of a pause between events")
    options.add_argument("--cloud", action="store_true", help="the cloud mode is available")
    options = options.parse_args()
    server = serve(options.port, options.limit, options.pace, options.cloud)
    print(f"http://127.0.0.1:{server.server_port}{PREFIX}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
