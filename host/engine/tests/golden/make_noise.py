"""Golden values for tests/noise.rs: torch's CPU generator, as bits.

    python make_noise.py noise.json

Every case is a seed and a list of successive draws from one generator. Small draws are kept whole; large ones as a
slice of both ends and an FNV-1a hash of all bits, so that the file stays small and the test still sees every value.
Must run on an x86 machine: torch's ARM build rounds differently in the last bit.
"""

import argparse
import json

import torch

SHAPES = [[1], [4], [15], [16], [17], [20], [31], [32], [1000], [1, 4, 64, 64]]
SEEDS = [0, 1, 42, 123456789, 2**31, 2**32 - 1, 2**32 + 7, 2**63 - 1]
SUCCESSIVE = [[1, 4, 8, 8], [3], [1, 4, 8, 8], [5], [2], [20], [1], [1, 4, 9, 7], [1, 4, 128, 128]]
WHOLE = 64


def fnv1a(bits):
    digest = 0xCBF29CE484222325
    for word in bits:
        for byte in word.to_bytes(4, "little"):
            digest = ((digest ^ byte) * 0x100000001B3) & (2**64 - 1)
    return f"{digest:016x}"


def draw(generator, shape):
    values = torch.randn(shape, generator=generator, dtype=torch.float32)
    bits = [word & 0xFFFFFFFF for word in values.flatten().view(torch.int32).tolist()]
    ends = bits if len(bits) <= WHOLE else bits[: WHOLE // 2] + bits[-WHOLE // 2 :]
    return {"shape": shape, "fnv1a": fnv1a(bits), "bits": ends}


def case(seed, shapes):
    # torch takes the seed modulo 2**64 and its engine modulo 2**32
    generator = torch.Generator("cpu").manual_seed(seed)
    return {"seed": str(seed), "draws": [draw(generator, shape) for shape in shapes]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    arguments = parser.parse_args()
    cases = [case(seed, [shape]) for seed in arguments.seeds for shape in SHAPES]
    cases += [case(seed, SUCCESSIVE) for seed in arguments.seeds]
    with open(arguments.out, "w") as file:
        json.dump({"torch": torch.__version__, "cases": cases}, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
