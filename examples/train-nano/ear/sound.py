"""Speech as microphones in rooms hear it: other throats, filters, echoes, noise, loudness, pauses around it.

Everything is drawn anew each time that an utterance is heard. Arrays of f32 at 16 kHz.
"""

import numpy as np

from ear.speak import RATE

STEP = 2_048            # transforms of lengths with few prime factors are quick


class Noises:
    """A minute of each colour of noise, of which pieces are taken."""

    def __init__(self, rng, seconds=60):
        count = seconds * RATE
        self.colours = [self._coloured(rng, count, power) for power in (0.0, 0.5, 1.0, 1.5)]

    def _coloured(self, rng, count, power):
        spectrum = np.fft.rfft(rng.standard_normal(count).astype(np.float32))
        spectrum *= np.maximum(np.arange(len(spectrum)), 20) ** -power
        noise = np.fft.irfft(spectrum, count).astype(np.float32)
        return noise / noise.std()

    def piece(self, count, rng):
        """Noise of unit loudness, with a hum or a melody of tones in it now and then."""
        colour = self.colours[rng.integers(len(self.colours))]
        begin = rng.integers(len(colour) - count)
        noise = colour[begin:begin + count].copy()
        if rng.random() < .25:
            hertz, loudness = rng.choice((50, 60, 100, 120, 440, 1_000)) * rng.uniform(.98, 1.02), rng.uniform(.3, 2)
            wave = np.sin(2 * np.pi * hertz / RATE * np.arange(count, dtype=np.float32)).astype(np.float32)
            noise += wave * loudness * (np.sin(np.arange(count) * rng.uniform(1, 6) / RATE * 6.28) > rng.uniform(-2, .5))
        return noise / max(1e-6, noise.std())


def warped(samples, rng):
    """Another throat: faster and higher, or slower and lower."""
    factor = rng.uniform(.86, 1.16)
    places = np.arange(0, len(samples) - 1, factor)
    return np.interp(places, np.arange(len(samples)), samples).astype(np.float32)


def _filter(bins, rng):
    """A microphone's gain by frequency: a tilt, bumps, and where it ends."""
    hertz = np.linspace(0, RATE / 2, bins)
    octaves = np.log2(np.maximum(hertz, 50) / 1_000)
    decibels = rng.uniform(-4, 4) * octaves + rng.uniform(-5, 5) * np.sin(octaves * rng.uniform(.5, 2) + rng.uniform(0, 6.3))
    if rng.random() < .35:
        decibels -= 24 * np.maximum(0, np.log2(np.maximum(hertz, 1) / rng.uniform(2_800, 7_000)))
    if rng.random() < .35:
        decibels -= 18 * np.maximum(0, np.log2(rng.uniform(80, 350) / np.maximum(hertz, 20)))
    return 10 ** (decibels / 20)


def _room(count, rng):
    """The spectrum of a room's echoes: the direct sound, then noise that dies away."""
    length = int(rng.uniform(.08, .55) * RATE)
    echo = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    echo[:int(.003 * RATE)] = 0
    echo *= rng.uniform(.1, .9) / np.sqrt((echo ** 2).sum())
    echo[0] = 1
    return np.fft.rfft(echo, count)


def through(samples, rng):
    """Through the air of a room and a microphone."""
    count = -(-(len(samples) + RATE // 4) // STEP) * STEP
    spectrum = np.fft.rfft(samples, count)
    if rng.random() < .7:
        spectrum *= _filter(len(spectrum), rng)
    if rng.random() < .4:
        spectrum *= _room(count, rng)
    return np.fft.irfft(spectrum, count)[:len(samples)].astype(np.float32)


def recording(parts, pauses, noises, rng, rough=1.0):
    """Parts with pauses before, between and after them, in seconds, as one recording; when each begins and ends in it.

    `rough` is how often rooms, filters and noise come, as a share of the usual.
    """
    pieces, times, at = [], [], 0
    for part, pause in zip([*parts, None], pauses):
        quiet = np.zeros(int(pause * RATE), np.float32)
        pieces.append(quiet)
        at += len(quiet)
        if part is not None:
            pieces.append(part)
            times.append((at / RATE, (at + len(part)) / RATE))
            at += len(part)
    samples = np.concatenate(pieces)
    if rng.random() < .8 * rough:
        samples = through(samples, rng)
    loudness = max(1e-4, float(np.sqrt((samples ** 2).mean()))) if parts else .1
    if rng.random() < .6 * rough or not parts:
        samples = samples + noises.piece(len(samples), rng) * loudness * 10 ** (-rng.uniform(10, 40) / 20)
    samples *= 10 ** (-rng.uniform(1, 30) / 20) / max(1e-6, float(np.abs(samples).max()))
    return samples.clip(-1, 1).astype(np.float32), times
