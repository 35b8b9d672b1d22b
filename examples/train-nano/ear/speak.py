"""Text to samples, by espeak-ng: 16 kHz, one channel, silence at both ends taken away.

    python -m ear.speak --out FOLDER        the six recordings of examples/voice-loop
"""

import argparse
import subprocess
import wave
from pathlib import Path

import numpy as np

from ear.voices import voice_named

RATE, OWN_RATE, HEADER = 16_000, 22_050, 44
QUIET = 0.004           # of full scale: what is below it at the ends is no speech

# name, language, held-out voice, what is said
RECORDINGS = (
    ("create", "en", "Annie", "create a red circle on a blue background"),
    ("night", "en", "f4", "make it night"),
    ("back", "en", "Michael", "go back to the previous image"),
    ("luo", "fi", "paul", "luo punainen ympyrä siniselle taustalle"),
    ("yo", "fi", "steph2", "tee siitä yö"),
    ("palaa", "fi", "m7", "palaa edelliseen kuvaan"),
)


def speak(text, voice):
    """What a voice says, in f32."""
    command = ["espeak-ng", "-v", voice.name, "-s", str(voice.speed), "-p", str(voice.pitch), "-g", str(voice.gap), "--stdout", text]
    said = subprocess.run(command, check=True, capture_output=True)
    if len(said.stdout) <= HEADER:
        raise ValueError(f"espeak-ng says nothing as {voice.name}: {said.stderr.decode()}")
    samples = np.frombuffer(said.stdout, np.int16, offset=HEADER).astype(np.float32) / 32_768
    return trimmed(resampled(samples, OWN_RATE, RATE))


def resampled(samples, source, target):
    """All frequencies that both rates can have, by Fourier's transform."""
    count = round(len(samples) * target / source)
    return (np.fft.irfft(np.fft.rfft(samples), count) * (count / len(samples))).astype(np.float32)


def trimmed(samples):
    loud = np.flatnonzero(np.abs(samples) > QUIET * max(1e-9, np.abs(samples).max()))
    return samples[loud[0]:loud[-1] + 1] if len(loud) else samples[:0]


def write(path, samples):
    """A wav file in 16 bits."""
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1), f.setsampwidth(2), f.setframerate(RATE)
        f.writeframes((samples.clip(-1, 1) * 32_767).astype("<i2").tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pause = np.zeros(RATE // 2, np.float32)
    for name, language, variant, text in RECORDINGS:
        samples = speak(text, voice_named(language, variant))
        samples *= 0.5 / np.abs(samples).max()
        write(args.out / f"{language}-{name}.wav", np.concatenate([pause, samples, pause]))
        print(f"{language}-{name}.wav  {len(samples) / RATE:.1f} s  {variant}: {text}")


if __name__ == "__main__":
    main()
