"""Encodes the bank of pictures to latents, chunk by chunk, with the trained codec.

    python encode_bank.py --bank WORK/bank --vae WORK/vae --out WORK/latents
A denoiser may start on the first chunks.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny

from train_vae import as_tensor, device_of_choice


@torch.inference_mode()
def encode(codec, pictures, device):
    """Scaled latents of many pictures, as half floats."""
    parts = [codec.encoder(as_tensor(pictures[k:k + 50], device)).cpu() for k in range(0, len(pictures), 50)]
    return (torch.cat(parts).float() * codec.config.scaling_factor).half().numpy()


def load_latents(folder):
    """All finished chunks as one tensor, in order."""
    files = sorted(Path(folder).glob("*.npy"))
    return torch.from_numpy(np.concatenate([np.load(f) for f in files])).float() if files else torch.zeros(0, 4, 16, 16)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", required=True)
    parser.add_argument("--vae", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    device, out = device_of_choice(), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    codec = AutoencoderTiny.from_pretrained(args.vae).to(device, memory_format=torch.channels_last).eval()
    for file in sorted(Path(args.bank).glob("*.npy")):
        if not (out / file.name).exists():
            part = out / (file.stem + ".part")
            with open(part, "wb") as f:
                np.save(f, encode(codec, np.load(file), device))
            part.rename(out / file.name)
            print(file.name, flush=True)


if __name__ == "__main__":
    main()
