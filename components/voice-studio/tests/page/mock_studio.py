"""What the mock server knows: sessions, accounts, pictures, and what a command means. Draws nothing and speaks no HTTP."""

import datetime
import itertools
import secrets
import threading

# what the mock "hears" in recordings, one after another: those of examples/voice-loop, as the page's test speaks them
HEARD = {
    "en": ("create a red circle on a blue background", "make it night", "go back to the previous image"),
    "fi": ("luo punainen ympyrä siniselle taustalle", "tee siitä yö", "palaa edelliseen kuvaan"),
}
CREATE = ("create", "draw", "paint", "luo", "piirrä", "maalaa")
EDIT = ("make", "add", "remove", "tee", "lisää", "poista")
UNDO = ("go back", "palaa")
ENGLISH = {"tee siitä yö": "make it night", "luo punainen ympyrä siniselle taustalle": "a red circle on a blue background"}


class Refused(Exception):
    """A status, a code and a message, as the interface has them."""

    def __init__(self, status, code, message, **more):
        super().__init__(message)
        self.status, self.error = status, {"code": code, "message": message, **more}


class Session:
    """One cookie's pictures, and its account once it has one."""

    def __init__(self):
        self.user = "u-" + secrets.token_hex(8)
        self.images, self.current, self.name, self.made, self.heard = [], None, None, 0, itertools.count()


class Studio:
    """All sessions and accounts. The limit counts made pictures; deleting one gives nothing back."""

    def __init__(self, limit, cloud):
        self.limit, self.cloud = limit, cloud
        self.sessions, self.accounts, self.lock = {}, {}, threading.Lock()

    def session(self, cookie):
        """The session of a cookie, and the cookie that it has from now on."""
        with self.lock:
            if cookie not in self.sessions:
                cookie = secrets.token_hex(16)
                self.sessions[cookie] = Session()
            return cookie, self.sessions[cookie]

    def modes(self):
        cloud = {"available": True} if self.cloud else {"available": False, "reason": "no provider is configured"}
        modes = {"local_fast": {"available": True}, "local_quality": {"available": True}, "cloud": cloud}
        return {"available": True, "modes": modes, "default_mode": "local_fast"}

    def info(self, session):
        is_in = session.name is not None
        return {
            "user_id": session.user, "image_count": session.made, "image_limit": None if is_in else self.limit,
            "images_left": None if is_in else max(0, self.limit - session.made), "logged_in": is_in, "name": session.name,
            "current": session.current,
        }

    def register(self, session, name, password):
        for field, text in (("name", name), ("password", password)):
            if len(text) < 3:
                raise Refused(422, "invalid", f"{field} needs at least 3 characters", field=field)
        with self.lock:
            if name in self.accounts:
                raise Refused(409, "name_taken", "this name is taken")
            self.accounts[name] = (password, session)
        session.name = name

    def login(self, session, name, password):
        """Pictures of before the log-in join the account's."""
        known, owner = self.accounts.get(name, (None, None))
        if known != password or known is None:
            raise Refused(401, "wrong_login", "name and password do not match")
        if owner is not session:
            owner.images += session.images
            session.images, session.current = owner.images, owner.current or session.current
        session.name = name

    def find(self, session, name):
        for image in session.images:
            if image["name"] == name:
                return image
        raise Refused(404, "not_found", "there is no such picture")

    def remove(self, session, name):
        session.images.remove(self.find(session, name))
        if session.current == name:
            session.current = session.images[-1]["name"] if session.images else None

    def hear(self, session, language):
        """What the next recording of a session says."""
        heard = "fi" if language == "fi" else "en"
        return HEARD[heard][next(session.heard) % len(HEARD[heard])], heard

    def admit(self, session):
        if session.name is None and session.made >= self.limit:
            raise Refused(403, "image_limit", f"{self.limit} pictures are made without an account; log in to make more")

    def understand(self, session, text):
        """`(action, prompt)` of a command."""
        words = text.lower().strip()
        if words.startswith(UNDO):
            return "undo", ""
        if words.startswith(EDIT):
            return "edit", ENGLISH.get(words, words)
        for start in CREATE:
            if words.startswith(start):
                return "create", ENGLISH.get(words, words[len(start):].strip())
        return "none", ""

    def undo(self, session):
        """The picture that is current from now on."""
        parent = self.find(session, session.current)["parent"] if session.current else None
        if parent is None:
            raise Refused(200, "nothing_to_undo", "this is the first picture")
        session.current = parent
        return self.find(session, parent)

    def keep(self, session, action, prompt, command, mode):
        """A new picture, current from now on. `look` is the mock's own: what it is drawn by."""
        parent = session.current if action == "edit" else None
        look = f"{self.find(session, parent)['look']} {prompt}" if parent else prompt
        now = datetime.datetime.now(datetime.timezone.utc)
        name = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}.webp"
        image = {
            "name": name, "url": f"images/{name}", "thumbnail": f"images/thumbnails/{name}", "prompt": prompt, "command": command,
            "action": action, "parent": parent, "width": 512, "height": 512, "created": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
            "seed": secrets.randbelow(2**31), "mode": mode, "model": "mock", "look": look,
        }
        session.images.append(image)
        session.current, session.made = name, session.made + 1
        return image
