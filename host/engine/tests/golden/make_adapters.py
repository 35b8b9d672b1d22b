"""Low-rank adapters in every dialect, and what diffusers and peft make of them: into --out, one folder per base.

    python make_adapters.py --out adapters/

`stable-diffusion` holds a tiny U-Net and text encoder with their outputs under each adapter, alone and together. For
`xl` and `flux` the networks' layers are listed by name and shape, with what each adapter adds to each weight.
`textual-inversion` holds learned words, with the ids and states of texts that use them. Nothing is downloaded. Other seeds and ranks give other fixtures for the same tests (ATELIER_GOLDEN_DIR).
"""

import argparse
import inspect
import json
import pathlib

import torch
from diffusers import FluxTransformer2DModel, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders import lora_conversion_utils
from diffusers.loaders.lora_pipeline import FluxLoraLoaderMixin
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

# the widths of FLUX.1's fused layer, which diffusers' conversion holds for all there are
FLUX_WIDTHS = "dims=[3072, 3072, 3072, 12288]"
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")


def unet(**changes):
    config = {
        "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "block_out_channels": (4, 8),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 8, "norm_num_groups": 2, "attention_head_dim": 2,
    }
    return UNet2DConditionModel(**{**config, **changes}).eval()


def text_config(**changes):
    config = {
        "vocab_size": 99, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 98, "pad_token_id": 1,
    }
    return CLIPTextConfig(**{**config, **changes})


def full(component, name):
    """Checkpoints call the text encoder's layers by their old, longer name."""
    is_text = component.startswith("text_encoder") and name != "text_projection"
    return name if not is_text or name.startswith("text_model.") else f"text_model.{name}"


def layers(component, model, wanted):
    """The linear and convolutional layers that `wanted` takes, by the names that checkpoints use."""
    kinds = torch.nn.Linear, torch.nn.Conv2d
    named = ((full(component, name), module) for name, module in model.named_modules() if isinstance(module, kinds))
    return {name: module for name, module in named if wanted(name)}


def pair(module, rank):
    """Down and up of a layer, large enough that a mistake shows."""
    outputs, inputs, *kernel = module.weight.shape
    return torch.randn(rank, inputs, *kernel) * 0.3, torch.randn(outputs, rank, *[1] * len(kernel)) * 0.3


def is_attention(name):
    return name.endswith(ATTENTION)


def is_in_the_middle(name):
    return name.startswith("mid_block") or "sample" in name or "time_emb" in name


def is_any(name):
    return True


def kohya(prefix, layers, rank, rename=lambda name: name):
    tensors = {}
    for name, module in layers.items():
        key = f"{prefix}_{rename(name).replace('.', '_')}"
        tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = pair(module, rank)
        # an alpha of its own is lost by diffusers where the layer is part of an attention
        tensors[f"{key}.alpha"] = torch.tensor(3.0 if "resnets" in name else 1.0)
    return tensors


def peft(prefix, layers, rank, down=".lora_A.weight", up=".lora_B.weight"):
    tensors = {}
    for name, module in layers.items():
        tensors[f"{prefix}{name}{down}"], tensors[f"{prefix}{name}{up}"] = pair(module, rank)
    return tensors


def processor(prefix, layers, rank):
    """The dialect of attention processors, from before peft."""
    names = {name.replace(".to_out.0", ".to_out"): module for name, module in layers.items()}
    split = {f"{name.rsplit('.', 1)[0]}.processor.{name.rsplit('.', 1)[1]}": module for name, module in names.items()}
    return peft(prefix, split, rank, "_lora.down.weight", "_lora.up.weight")


def ldm(blocks):
    """A function from diffusers' names to those of the U-Net that XL was published with."""
    resnet = {"conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
    whole = {
        "conv_in": "input_blocks.0.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    }

    def rename(name):
        if name in whole:
            return whole[name]
        side, *rest = name.split(".")
        if side == "mid_block":
            kind, index, *inner = rest
            number = 1 if kind == "attentions" else 2 * int(index)
            inner = [resnet[inner[0]]] if kind == "resnets" else inner
            return ".".join(["middle_block", str(number), *inner])
        block, kind, index, *inner = rest
        block, index = int(block), int(index)
        inner = [resnet[inner[0]]] if kind == "resnets" else inner
        if side == "down_blocks":
            number = 1 + 3 * block + index if kind != "downsamplers" else 3 * block + 3
            inner = ["op"] if kind == "downsamplers" else inner
            return ".".join(["input_blocks", str(number), str(int(kind == "attentions")), *inner])
        # the upsampler is the last module of its block: third where the block has attention, else second
        place = {"resnets": 0, "attentions": 1, "upsamplers": 2 if blocks[block] else 1}[kind]
        number = 3 * block + (index if kind != "upsamplers" else 2)
        return ".".join(["output_blocks", str(number), str(place), *inner])

    return rename


def deltas(component, model):
    """What the active adapters add to each weight, by the names that checkpoints use."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            name = full(component, name.removeprefix("base_model.model."))
            found[f"{component}/{name}"] = sum(module.get_delta_weight(adapter) for adapter in module.active_adapters)
    return found


def describe(parts):
    """Every layer's name and the shape of its weight."""
    return {component: {name: list(module.weight.shape) for name, module in layers(component, model, is_any).items()} for component, model in parts.items()}


def stable_diffusion(folder, rank, seed):
    """One set of files, each loaded by diffusers into the same pipeline, and two of them at once."""
    net, text = unet(), CLIPTextModel(text_config()).eval()
    net.save_pretrained(folder / "unet"), text.save_pretrained(folder / "text_encoder")
    attention, text_attention = layers("unet", net, is_attention), layers("text_encoder", text, is_attention)
    every, every_text = layers("unet", net, is_any), layers("text_encoder", text, is_any)
    mlp = {name: module for name, module in every_text.items() if "mlp" in name}
    files = {
        "kohya": kohya("lora_unet", every, rank) | kohya("lora_te", every_text, rank),
        "kohya-ldm": kohya("lora_unet", every, rank, ldm([True, False])),
        "diffusers": peft("unet.", every, rank) | peft("text_encoder.", every_text, rank),
        "diffusers-linear-layer": peft("unet.", attention, rank, ".lora.down.weight", ".lora.up.weight")
        | peft("text_encoder.", {**text_attention, **mlp}, rank, ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
        "diffusers-processor": processor("unet.", attention, rank),
    }
    metadata = {"diffusers": json.dumps({
        "unet.r": rank, "unet.lora_alpha": 2 * rank, "unet.target_modules": sorted(every), "unet.alpha_pattern": {"conv_in": 1},
        "text_encoder.r": rank, "text_encoder.lora_alpha": 1, "text_encoder.target_modules": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
    })}
    for name, tensors in files.items():
        held = {"format": "pt"} | ({"lora_adapter_metadata": metadata[name]} if name in metadata else {})
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors", held)
    trained = get_peft_model(net, LoraConfig(
        r=rank, lora_alpha=3, target_modules=["to_q", "to_v", "conv1", "ff.net.0.proj"], use_rslora=True, init_lora_weights=False,
        rank_pattern={"to_v": rank + 1}, alpha_pattern={"mid_block.resnets.0.conv1": 5},
    ))
    trained.save_pretrained(folder / "peft")
    (folder / "peft/README.md").unlink(missing_ok=True)
    net = UNet2DConditionModel.from_pretrained(folder / "unet")
    pipeline = StableDiffusionPipeline(
        vae=None, text_encoder=text, tokenizer=None, unet=net, scheduler=None, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )
    for name in files:
        pipeline.load_lora_weights(folder, weight_name=f"{name}.safetensors", adapter_name=name, unet_config=net.config)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, 97, (2, 12), generator=generator)
    ids[:, 0], ids[:, -3:] = 0, 98
    sample, timesteps = torch.randn(2, 4, 8, 6, generator=generator), torch.tensor([7.0, 850.0])
    cases = {"none": []} | {name: [[name, 1.0]] for name in files}
    cases |= {"half": [["kohya", 0.5]], "against": [["diffusers", -0.7]]}
    cases |= {"two": [["kohya", 0.8], ["diffusers", 0.6]], "three": [["diffusers", 0.4], ["kohya-ldm", 0.3], ["diffusers-processor", 1.2]]}
    golden = {"ids": ids, "sample": sample, "timesteps": timesteps}
    for case, chosen in cases.items():
        if chosen:
            pipeline.enable_lora()
            pipeline.set_adapters([name for name, _ in chosen], [weight for _, weight in chosen])
        else:
            pipeline.disable_lora()
        states = text(ids).last_hidden_state
        golden[f"{case}/states"], golden[f"{case}/output"] = states, net(sample, timesteps, states).sample
    pipeline.unload_lora_weights()
    plain = UNet2DConditionModel.from_pretrained(folder / "unet")
    cases["peft"] = [["peft", 1.0]]
    golden["peft/states"] = golden["none/states"].clone()
    golden["peft/output"] = PeftModel.from_pretrained(plain, folder / "peft")(sample, timesteps, golden["none/states"]).sample
    return {"cases": cases}, golden


def middle(folder, rank):
    """LoCon with a kernel between down and up. diffusers does not know it; the addition is LyCORIS' formula."""
    tensors, golden = {}, {}
    for outputs, inputs, name in [(8, 8, "mid_block.resnets.0.conv1"), (4, 4, "conv_in")]:
        key = f"lora_unet_{name.replace('.', '_')}"
        down, up = torch.randn(rank, inputs, 1, 1) * 0.3, torch.randn(outputs, rank, 1, 1) * 0.3
        between = torch.randn(rank, rank, 3, 3) * 0.3
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.lora_mid.weight": between, f"{key}.alpha": torch.tensor(2.0)}
        added = torch.einsum("om,mnxy,ni->oixy", up[..., 0, 0], between, down[..., 0, 0])
        golden[f"middle/unet/{name}"] = added * 2.0 / rank
    save_file(tensors, folder / "middle.safetensors")
    return golden


def xl(folder, rank):
    """Both text encoders and the block numbers of XL's own U-Net."""
    net = unet(
        block_out_channels=(4, 8, 8), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=[1, 1, 2],
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=32,
        attention_head_dim=[1, 2, 4],
    )
    parts = {
        "unet": net, "text_encoder": CLIPTextModel(text_config()).eval(),
        "text_encoder_2": CLIPTextModelWithProjection(text_config(hidden_size=12, projection_dim=8, hidden_act="gelu")).eval(),
    }
    described = describe(parts)
    every = {component: layers(component, model, is_any) for component, model in parts.items()}
    attention = {component: layers(component, model, is_attention) for component, model in parts.items()}
    blocks = kohya("lora_unet", every["unet"], rank, ldm([True, True, False]))
    texts = kohya("lora_te1", every["text_encoder"], rank) | kohya("lora_te2", every["text_encoder_2"], rank)
    files = {
        "kohya-xl": blocks | texts,
        # LCM's and Lightning's adapters: diffusers' names in kohya's spelling
        "kohya-diffusers": kohya("lora_unet", layers("unet", net, is_in_the_middle), rank),
        "diffusers-xl": {key: value for component in parts for key, value in peft(f"{component}.", attention[component], rank).items()},
    }
    golden = {}
    for name, tensors in files.items():
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")
        pipeline = StableDiffusionXLPipeline(
            vae=None, text_encoder=parts["text_encoder"], text_encoder_2=parts["text_encoder_2"], tokenizer=None, tokenizer_2=None,
            unet=net, scheduler=None, add_watermarker=False,
        )
        pipeline.load_lora_weights(folder, weight_name=f"{name}.safetensors", adapter_name="adapter")
        for component, model in parts.items():
            golden |= {f"{name}/{key}": value for key, value in deltas(component, model).items()}
        pipeline.unload_lora_weights()
    golden |= middle(folder, rank)
    return {"layers": described, "files": [*files, "middle"]}, golden


def flux_original(layers, rank):
    """One pair for each layer of the original transformer, in kohya's spelling; some of its layers are several of diffusers'."""
    tensors = {}

    def add(name, *parts):
        modules = [layers[part] for part in parts]
        inputs, outputs = modules[0].weight.shape[1], sum(module.weight.shape[0] for module in modules)
        key = f"lora_unet_{name}"
        tensors[f"{key}.lora_down.weight"] = torch.randn(rank, inputs) * 0.3
        tensors[f"{key}.lora_up.weight"] = torch.randn(outputs, rank) * 0.3
        # diffusers leaves this one's alpha out
        if not name.startswith("final_layer"):
            tensors[f"{key}.alpha"] = torch.tensor(3.0)

    for index in range(2):
        block, original = f"transformer_blocks.{index}", f"double_blocks_{index}"
        add(f"{original}_img_attn_qkv", *[f"{block}.attn.{part}" for part in ["to_q", "to_k", "to_v"]])
        add(f"{original}_txt_attn_qkv", *[f"{block}.attn.{part}" for part in ["add_q_proj", "add_k_proj", "add_v_proj"]])
        add(f"{original}_img_attn_proj", f"{block}.attn.to_out.0"), add(f"{original}_txt_attn_proj", f"{block}.attn.to_add_out")
        for stream, net, norm in [("img", "ff", "norm1"), ("txt", "ff_context", "norm1_context")]:
            add(f"{original}_{stream}_mlp_0", f"{block}.{net}.net.0.proj"), add(f"{original}_{stream}_mlp_2", f"{block}.{net}.net.2")
            add(f"{original}_{stream}_mod_lin", f"{block}.{norm}.linear")
        block, original = f"single_transformer_blocks.{index}", f"single_blocks_{index}"
        add(f"{original}_linear1", *[f"{block}.{part}" for part in ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]])
        add(f"{original}_linear2", f"{block}.proj_out"), add(f"{original}_modulation_lin", f"{block}.norm.linear")
    add("img_in", "x_embedder"), add("txt_in", "context_embedder")
    add("final_layer_linear", "proj_out"), add("final_layer_adaLN_modulation_1", "norm_out.linear")
    return tensors


def flux(folder, rank):
    net = FluxTransformer2DModel(
        in_channels=4, num_layers=2, num_single_layers=2, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=12,
        pooled_projection_dim=16, guidance_embeds=True, axes_dims_rope=(2, 2, 4),
    ).eval()
    described = describe({"transformer": net})
    every = layers("transformer", net, is_any)
    width, inner = every["single_transformer_blocks.0.attn.to_q"].weight.shape[0], every["single_transformer_blocks.0.proj_mlp"].weight.shape[0]
    source = inspect.getsource(lora_conversion_utils._convert_kohya_flux_lora_to_diffusers)
    assert FLUX_WIDTHS in source, "diffusers' conversion has changed"
    convert = {**vars(lora_conversion_utils)}
    exec(source.replace(FLUX_WIDTHS, f"dims={[width] * 3 + [inner]}"), convert)
    files = {
        "flux-kohya": flux_original(every, rank),
        "flux-diffusers": peft("transformer.", every, rank),
        "flux-transformer": kohya("lora_transformer", layers("transformer", net, is_attention), rank),
    }
    golden = {}
    for name, tensors in files.items():
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")
        state = convert["_convert_kohya_flux_lora_to_diffusers"](dict(tensors)) if "diffusers" not in name else dict(tensors)
        # the conversion forgets the prefix of the layers outside of all blocks
        state = {key if key.startswith("transformer.") else f"transformer.{key}": value for key, value in state.items()}
        FluxLoraLoaderMixin.load_lora_into_transformer(state, None, net, adapter_name="adapter")
        golden |= {f"{name}/{key}": value for key, value in deltas("transformer", net).items()}
        net.unload_lora()
    return {"layers": described, "files": list(files)}, golden


def textual_inversion(folder):
    """Words of one vector and of several, in the files of diffusers and of other tools, learned by two encoders."""
    tokens = CLIPTokenizer.from_pretrained(pathlib.Path(__file__).parent / "fixtures/sd1/tokenizer")
    tokens.save_pretrained(folder / "tokenizer")
    files = {"cat-toy": {"<cat-toy>": torch.randn(8)}, "style": {"<style>": torch.randn(3, 8)}, "inkwash": {"emb_params": torch.randn(2, 8)}}
    second = {"inkwash-xl": {"clip_l": torch.randn(2, 8), "clip_g": torch.randn(2, 12)}}
    for name, tensors in {**files, **second}.items():
        save_file(tensors, folder / f"{name}.safetensors")
    words = {"cat-toy": None, "style": None, "inkwash": "inkwash", "inkwash-xl": "inkwash-xl"}
    texts = [
        "a photo of a <cat-toy>", "<cat-toy> <cat-toy>, in the style of <style>!", "inkwash of <style>", "an inkwash-xl painting",
        "a<cat-toy>b, <style", "nothing that was learned", "a <CAT-TOY>", "", "<cat-toy>" * 3,
    ]
    asked = {"first": ("text_encoder", 8, ["cat-toy", "style", "inkwash", "inkwash-xl"]), "second": ("text_encoder_2", 12, ["inkwash-xl"])}
    golden, cases = {}, {}
    for case, (component, width, chosen) in asked.items():
        tokens = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        config = text_config(vocab_size=len(tokens), hidden_size=width, eos_token_id=tokens.eos_token_id, max_position_embeddings=77)
        text = CLIPTextModel(config).eval()
        text.save_pretrained(folder / case / "text_encoder")
        pipeline = StableDiffusionPipeline(
            vae=None, text_encoder=text, tokenizer=tokens, unet=None, scheduler=None, safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        )
        for name in chosen:
            tensors = {**files, **second}[name]
            vectors = tensors["clip_g"] if component == "text_encoder_2" else next(iter(tensors.values()))
            pipeline.load_textual_inversion({words[name] or next(iter(tensors)): vectors})
        used = [line for line in texts if component == "text_encoder" or "<" not in line]
        rows = [tokens(pipeline.maybe_convert_prompt(line, tokens), padding="max_length", max_length=77).input_ids for line in used]
        golden[f"{case}/ids"], golden[f"{case}/states"] = torch.tensor(rows), text(torch.tensor(rows)).last_hidden_state
        cases[case] = {"component": component, "files": [[name, words[name]] for name in chosen], "texts": used}
    return {"cases": cases}, golden


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of all weights")
    parser.add_argument("--rank", type=int, default=2)
    parser.add_argument("--only", help="one of the folders")
    arguments = parser.parse_args()
    makers = {
        "stable-diffusion": lambda folder: stable_diffusion(folder, arguments.rank, arguments.seed),
        "xl": lambda folder: xl(folder, arguments.rank),
        "flux": lambda folder: flux(folder, arguments.rank),
        "textual-inversion": textual_inversion,
    }
    for name, make in makers.items():
        if arguments.only not in (None, name):
            continue
        torch.manual_seed(arguments.seed)
        folder = arguments.out / name
        folder.mkdir(parents=True, exist_ok=True)
        golden, tensors = make(folder)
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "golden.safetensors")
        (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
        print(name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 1024, "KiB")


if __name__ == "__main__":
    main()
