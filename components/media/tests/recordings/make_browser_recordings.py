"""Lets a real Chromium record from its microphone, and writes the samples that its recordings must become.

    pip install -r requirements.txt        (and a Chromium: `chromium`, or its path in CHROMIUM)
    python make_browser_recordings.py --out . --seed 1

The microphone is a sound of `make_recordings.py`. A page records it with MediaRecorder in every container and codec that
browsers on phones and desktops use, in pieces, as pages do that send while somebody speaks, and hands the files over. The
samples are what libopus, or ffmpeg's decoder for AAC, gives for the packets, without what the header says comes before the
sound and what the last packet's length leaves out; brought to 16 kHz by soxr. An encoder that this Chromium lacks (Debian's has none for AAC) is said, and is no file.
"""

import argparse
import os
import subprocess
import tempfile
import wave
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import numpy as np
from scipy.signal import correlate

from make_recordings import SECONDS, decoded, sound, write_samples

RATE = 48_000
TYPES = {
    "chromium-opus.webm": "audio/webm;codecs=opus",
    "chromium-opus.mp4": "audio/mp4;codecs=opus",
    "chromium-aac.mp4": "audio/mp4;codecs=mp4a.40.2",
}
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
]
PAGE = """<!doctype html><script>
const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
const wanted = Object.entries(TYPES).filter(([, type]) => MediaRecorder.isTypeSupported(type));
const recorded = (stream, name, mimeType) => new Promise((done) => {
  const recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: 48000 });
  const pieces = [];
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.onstop = () => fetch("/" + name, { method: "POST", body: new Blob(pieces) }).then(done);
  recorder.start(200);
  setTimeout(() => recorder.stop(), SECONDS * 1000);
});
navigator.mediaDevices.getUserMedia({ audio: plain })
  .then((stream) => Promise.all(wanted.map(([name, type]) => recorded(stream, name, type))))
  .catch((error) => fetch("/error", { method: "POST", body: String(error) }))
  .finally(() => fetch("/end", { method: "POST" }));
</script>"""


class Page(BaseHTTPRequestHandler):
    """Shows the page, and keeps what it hands over."""

    def do_GET(self):
        types = "{" + ",".join(f'"{name}":"{kind}"' for name, kind in TYPES.items()) + "}"
        body = PAGE.replace("TYPES", types).replace("SECONDS", str(self.server.seconds)).encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.server.files[self.path[1:]] = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def microphone(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.round(samples * 32_767).astype("<i2").tobytes())


def recordings(samples, seconds, patience=120):
    """The files by name, as the browser made them of a microphone that hears `samples`, once."""
    with tempfile.TemporaryDirectory() as folder:
        microphone(Path(folder) / "microphone.wav", samples)
        server = HTTPServer(("127.0.0.1", 0), Page)
        server.seconds, server.files, server.timeout = seconds, {}, patience
        command = [
            os.environ.get("CHROMIUM", "chromium"), *FLAGS, f"--user-data-dir={folder}/profile",
            f"--use-file-for-fake-audio-capture={folder}/microphone.wav%noloop", f"http://127.0.0.1:{server.server_port}/",
        ]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server.handle_timeout = lambda: server.files.update(error=f"no answer of the browser in {patience} s".encode(), end=b"")
        try:
            while "end" not in server.files:
                server.handle_request()
        finally:
            browser.terminate()
            browser.wait()
        assert "error" not in server.files, server.files["error"].decode()
        server.files.pop("end")
        return server.files


def sound_of(path, frames):
    """The part of a file's frames that is the recording: not what its header leaves out, nor the last packet's excess."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        head = bytes(stream.codec_context.extradata or b"")
        lengths = [packet.duration for packet in file.demux(audio=0) if packet.size]
        skipped = int.from_bytes(head[10:12], "little") if head[:8] == b"OpusHead" else 0
        # whole packets are of one length; the browser's clock makes some in between look shorter
        excess = round((max(lengths) - lengths[-1]) * stream.time_base * RATE)
        return slice(skipped, frames - excess)


def likeness(heard, source):
    """How much a recording is like the part of the source that it is most like: 1 if it is the same, 0 if nothing is."""
    products = correlate(source, heard, "valid")
    energies = correlate(source**2, np.ones_like(heard), "valid")
    return np.max(products / np.sqrt(energies.clip(1e-9) * np.sum(heard**2)))


def expect(path, source):
    """Writes the samples that a recording must become, after a look whether it is one of this source."""
    opus = "opus" in path.name
    found, _ = decoded(path, "libopus" if opus else None)
    mono = found[:, sound_of(path, found.shape[1])].mean(0).astype(np.float64)
    # a busy machine loses moments of the microphone: then only a part of it fits
    fit = likeness(mono, source)
    assert fit > 0.5, (path.name, f"it is not what the microphone heard: {fit:.2f}")
    write_samples(path.with_suffix(path.suffix + ".s16"), mono, RATE)
    return fit


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--seconds", type=float, default=1.2)
    options = options.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    # longer than the recording, and nowhere like itself
    source = np.concatenate([sound(RATE, 1, options.seed + part)[0] for part in range(int(options.seconds / SECONDS) + 6)])
    files = recordings(source, options.seconds)
    for name in TYPES:
        if name not in files:
            print(f"{name}: this Chromium has no encoder for it")
            continue
        path = options.out / name
        path.write_bytes(files[name])
        print(f"{name}: {len(files[name])} bytes, like the microphone's sound to {expect(path, source):.3f}")


if __name__ == "__main__":
    main()
