"""ControlNets beside a denoiser, and what diffusers makes of them: into --out, one folder per family.

    python make_controlnets.py --out controlnets/

Each folder holds a tiny U-Net, two ControlNets for it, their residuals, and the U-Net's output under one and under both.
Nothing is downloaded. Other seeds and sizes give other fixtures for the same tests (ATELIER_GOLDEN_DIR).
"""

import argparse
import json
import pathlib

import torch
from diffusers import ControlNetModel, MultiControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file

SHARED = {
    "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1, "block_out_channels": (4, 8),
    "cross_attention_dim": 8, "norm_num_groups": 2,
}
FAMILIES = {
    "sd": {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 2,
    },
    "xl": {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": [1, 2], "transformer_layers_per_block": [1, 2], "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 32,
    },
}


def controlnet(unet, order):
    """Its outputs begin as zeros; only other weights say anything."""
    net = ControlNetModel.from_unet(unet, controlnet_conditioning_channel_order=order, conditioning_embedding_out_channels=(4, 6)).eval()
    for parameter in net.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return net


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of all weights and inputs")
    parser.add_argument("--height", type=int, default=16, help="of the picture; a multiple of 2")
    parser.add_argument("--width", type=int, default=12)
    arguments = parser.parse_args()
    height, width = arguments.height, arguments.width
    for name, changes in FAMILIES.items():
        torch.manual_seed(arguments.seed)
        folder = arguments.out / name
        unet = UNet2DConditionModel(**SHARED, **changes).eval()
        nets = [controlnet(unet, "rgb"), controlnet(unet, "bgr")]
        unet.save_pretrained(folder / "unet")
        for index, net in enumerate(nets):
            net.save_pretrained(folder / f"controlnet-{index}")
        golden = {
            "x": torch.randn(2, 4, height // 2, width // 2), "timesteps": torch.tensor([11.0, 720.0]), "context": torch.randn(2, 9, 8),
            "picture-0": torch.rand(1, 3, height, width), "picture-1": torch.rand(1, 3, height, width),
        }
        added = None
        if name == "xl":
            golden |= {"pooled": torch.randn(2, 8), "numbers": torch.tensor([[64.0, 48, 0, 0, 64, 48], [32.0, 32, 8, 4, 64, 64]])}
            added = {"text_embeds": golden["pooled"], "time_ids": golden["numbers"]}
        common = {"timestep": golden["timesteps"], "encoder_hidden_states": golden["context"], "added_cond_kwargs": added}
        scales = [0.8, 1.3]
        pictures = [golden[f"picture-{index}"].expand(2, -1, -1, -1) for index in range(2)]
        for case, chosen in {"first": [0], "second": [1], "both": [0, 1]}.items():
            multi = MultiControlNetModel([nets[index] for index in chosen])
            down, mid = multi(
                golden["x"], controlnet_cond=[pictures[index] for index in chosen],
                conditioning_scale=[scales[index] for index in chosen], return_dict=False, **common,
            )
            golden |= {f"{case}/down-{index}": residual for index, residual in enumerate(down)} | {f"{case}/mid": mid.clone()}
            output = unet(golden["x"], down_block_additional_residuals=down, mid_block_additional_residual=mid, **common)
            golden[f"{case}/output"] = output.sample
        golden["none/output"] = unet(golden["x"], **common).sample
        save_file({key: value.contiguous() for key, value in golden.items()}, folder / "golden.safetensors")
        (folder / "golden.json").write_text(json.dumps({"scales": scales, "cases": {"first": [0], "second": [1], "both": [0, 1]}}) + "\n")
        print(name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 1024, "KiB")


if __name__ == "__main__":
    main()
