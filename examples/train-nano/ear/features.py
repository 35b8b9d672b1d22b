"""Samples to what a Whisper hears: the logarithm of energies in mel bands, a hundred frames a second.

As transformers' `WhisperFeatureExtractor`, for several recordings at once. What comes after a recording is zeros in a window
that is transcribed, as in OpenAI's whisper and in Atelier, and silence in one whose language is recognised.
"""

import torch
from transformers.audio_utils import mel_filter_bank

BANDS, FFT, HOP, RATE = 80, 400, 160, 16_000
FLOOR, RANGE = 1e-10, 8.0


class Features:
    """What is the same for all recordings."""

    def __init__(self):
        filters = mel_filter_bank(FFT // 2 + 1, BANDS, 0.0, 8_000.0, RATE, norm="slaney", mel_scale="slaney")
        self.filters, self.window = torch.from_numpy(filters).float().t().contiguous(), torch.hann_window(FFT)

    def __call__(self, recordings, frames, silent):
        """(count, bands, frames). `silent` says of each recording whether there is silence after it."""
        padded = torch.zeros(len(recordings), frames * HOP)
        for row, samples in zip(padded, recordings):
            row[:len(samples)] = torch.from_numpy(samples[:frames * HOP])
        waves = torch.stft(padded, FFT, HOP, window=self.window, return_complex=True)[..., :-1]
        logs = (self.filters @ (waves.real.square() + waves.imag.square())).clamp_min(FLOOR).log10()
        logs = torch.maximum(logs, logs.amax((1, 2), keepdim=True) - RANGE)
        heard = (logs + 4) / 4
        for row, samples, quiet in zip(heard, recordings, silent):
            if not quiet:
                row[:, len(samples) // HOP:] = 0
        return heard
