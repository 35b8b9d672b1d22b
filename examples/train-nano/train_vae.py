"""Trains the picture codec: diffusers' AutoencoderTiny, 128x128 pixels to 16x16x4 latents.

    python train_vae.py --bank WORK/bank --out WORK/vae --seconds 600
L1, squared and gradient loss on crops, whole pictures for the last 30 % of the time. Latents are pulled
to unit size and a little noise is added to them, so that a denoiser finds a smooth space.
With --refine the decoder alone learns on, so that latents made before stay valid.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock

from bank import load_bank
from clock import Clock, rate, set_rate
from muon import optimizer_for
from threads import Threads

CROP = 64


def device_of_choice():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def new_codec():
    """Four stages of 32 channels; weights start so that signals keep their size through the blocks."""
    codec = AutoencoderTiny(
        encoder_block_out_channels=(32, 32, 32, 32), decoder_block_out_channels=(32, 32, 32, 32),
        num_encoder_blocks=(0, 1, 1, 2), num_decoder_blocks=(2, 2, 2, 1),
        latent_channels=4, scaling_factor=1.0, force_upcast=False)
    for module in codec.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    with torch.no_grad():
        for module in codec.modules():
            if isinstance(module, AutoencoderTinyBlock):
                module.conv[-1].weight.mul_(0.2)
        codec.encoder.layers[-1].weight.mul_(0.5)
        codec.decoder.layers[-1].weight.mul_(0.1)
        codec.decoder.layers[-1].bias.fill_(0.5)
    return codec


def as_tensor(pictures, device):
    """Bytes, N by height by width by 3, to floats between -1 and 1."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
    return x.permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def draw_batch(bank, count, crop, rng):
    """Random pictures, or random crops of random pictures on the latent grid."""
    numbers = np.sort(rng.integers(0, len(bank), count))
    if not crop:
        return bank[numbers]
    out = np.empty((count, CROP, CROP, 3), np.uint8)
    for k, n in enumerate(numbers):
        y, x = rng.integers(0, (128 - CROP) // 8 + 1, 2) * 8
        out[k] = bank[n, y:y + CROP, x:x + CROP]
    return out


def picture_loss(out, x):
    dx = F.l1_loss(out[..., 1:] - out[..., :-1], x[..., 1:] - x[..., :-1])
    dy = F.l1_loss(out[..., 1:, :] - out[..., :-1, :], x[..., 1:, :] - x[..., :-1, :])
    return F.l1_loss(out, x) + 2.0 * F.mse_loss(out, x) + 0.7 * (dx + dy)


def step_loss(codec, x):
    z = codec.encoder(x)
    size = z.float().pow(2).mean((0, 2, 3))
    centre = z.float().mean((0, 2, 3))
    out = codec.decoder(z + 0.05 * torch.randn_like(z))
    pull = 0.02 * ((size - 1).pow(2).mean() + centre.pow(2).mean())
    return picture_loss(out.float(), x) + pull, z


class Average:
    """Exponential moving average of a model's weights, warming up with the steps."""

    def __init__(self, model, decay):
        self.decay, self.shadow = decay, {k: v.detach().float().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model, step):
        d = min(self.decay, (1 + step) / (10 + step))
        for k, v in model.state_dict().items():
            self.shadow[k].lerp_(v.float(), 1 - d) if v.is_floating_point() else self.shadow[k].copy_(v)


def write(codec, average, folder):
    """The averaged weights, so that there is a codec to use at any moment."""
    copy = new_codec()
    copy.load_state_dict(average.shadow)
    copy.register_to_config(scaling_factor=codec.config.scaling_factor)
    copy.save_pretrained(folder)


def train(args, device):
    codec = AutoencoderTiny.from_pretrained(args.refine or args.start) if args.refine or args.start else new_codec()
    codec = codec.to(device, memory_format=torch.channels_last)
    codec.encoder.requires_grad_(not args.refine)
    optimizer = optimizer_for({"codec": codec.decoder if args.refine else codec}, args.rate)
    clock, rng, step = Clock(args.seconds), np.random.default_rng(1), 0
    threads, saved = Threads(), time.time()
    average, bank, seen = Average(codec, 0.99), load_bank(args.bank, args.first), time.time()
    while not clock.over():
        whole = clock.share() > 0.7
        x = as_tensor(draw_batch(bank, args.batch // (4 if whole else 1), not whole, rng), device)
        set_rate(optimizer, rate(args.rate, clock.share(), step, 30, hold=0.35))
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            loss, z = step_loss(codec, x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        average.update(codec, step)
        threads.tick()
        if step % 50 == 0:
            print(f"vae step {step} {clock.spent():.0f}s loss {loss.item():.4f} std {z.float().std().item():.3f}", flush=True)
        if time.time() - seen > 60 and len(bank) < args.first:
            bank, seen = load_bank(args.bank, args.first), time.time()
        if time.time() - saved > 60:
            write(codec, average, args.out + "-latest")
            saved = time.time()
        step += 1
    codec.load_state_dict(average.shadow)
    return codec.eval()


@torch.no_grad()
def encode_bank(codec, bank, device, bf16):
    """Latents as the encoder gives them, not yet scaled."""
    parts = []
    for at in range(0, len(bank), 64):
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            parts.append(codec.encoder(as_tensor(bank[at:at + 64], device)).float().cpu().numpy().astype(np.float16))
    return np.concatenate(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--first", type=int, default=16000, help="pictures of the bank to train on")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--start", help="a codec to go on from")
    parser.add_argument("--refine", help="a codec whose decoder alone is trained on, its encoder staying as it is")
    args = parser.parse_args()
    torch.manual_seed(1)
    device = device_of_choice()
    codec = train(args, device)
    if not args.refine:
        sample = encode_bank(codec, load_bank(args.bank, 1000), device, args.bf16)
        codec.register_to_config(scaling_factor=round(float(1 / sample.astype(np.float32).std()), 4))
    codec.save_pretrained(Path(args.out))
    print(f"scaling_factor {codec.config.scaling_factor}", flush=True)


if __name__ == "__main__":
    main()
