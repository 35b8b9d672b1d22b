"""Makes the golden fixtures of tests/flux.rs: tiny random-weight FLUX pipelines and every stage of what diffusers makes of them.

    python make_flux.py --out flux                               # the committed ones
    python make_flux.py --out other --seed 7 --height 24 --width 40
    ATELIER_GOLDEN_DIR=$PWD/other cargo test --release -p atelier-engine --test flux

`dev` and `schnell` are folders in the layout of their repositories, with `golden.json` (what was asked) and
`golden.safetensors` (what diffusers made: `<case>/<stage>`, and `<stage>/<prompt>` of the texts): `dev` has guidance, f32 weights and `tokenizer.json`, `schnell`
has Black Forest Labs' single file in bf16, a T5 in f16 and `spiece.model`. `q8` and `q4` hold GGUF files of the
transformer and of T5 alone; the reference there is diffusers with the dequantized weights. Latents are kept unpacked:
(images, 16, h, w). `blocks.safetensors` has random blocks of the types of few bits and their values.
"""

import argparse
import functools
import inspect
import json
import pathlib

import gguf
import numpy as np
import sentencepiece
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxImg2ImgPipeline, FluxPipeline, FluxTransformer2DModel
from diffusers.loaders import single_file_utils
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from common import CORPUS, TEXTS, source_picture, text_encoder, tokenizer

WIDTH, HEADS = 32, 2
LENGTH = {"dev": 512, "schnell": 256}
GGUF = {"q8": gguf.GGMLQuantizationType.Q8_0, "q4": gguf.GGMLQuantizationType.Q4_0}
BLOCKS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]


def t5_tokenizer(folder, as_json):
    """A unigram model like T5's; the rules for normalising text are large, so one of the two has none."""
    (folder / "tokenizer_2").mkdir(parents=True, exist_ok=True)
    path = folder / "tokenizer_2/spiece.model"
    letters = ["".join(chr(code) for code in range(33, 127)), "café straße İstanbul naïve 日本語のテキスト"]
    with open(path, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter((CORPUS + letters) * 4), model_writer=file, vocab_size=320, model_type="unigram",
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, character_coverage=1.0, hard_vocab_limit=False, minloglevel=2,
            normalization_rule_name="identity" if as_json else "nmt_nfkc",
        )
    made = T5Tokenizer.from_pretrained(folder / "tokenizer_2", model_max_length=512)
    if as_json:
        path.unlink()
        made.save_pretrained(folder / "tokenizer_2")
    return made


def t5_encoder(tokens):
    config = T5Config(
        vocab_size=len(tokens), d_model=WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    made = T5EncoderModel(config).eval()
    with torch.no_grad():
        # transformers starts it so small that a wrong one would hardly show
        made.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.normal_(std=0.5)
    return made


def transformer(guidance):
    made = FluxTransformer2DModel(
        in_channels=64, num_layers=2, num_single_layers=2, attention_head_dim=WIDTH // HEADS, num_attention_heads=HEADS,
        joint_attention_dim=WIDTH, pooled_projection_dim=16, guidance_embeds=guidance, axes_dims_rope=(4, 6, 6),
    ).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            # larger weights let a mistake show; norms differ from the ones that they start as
            parameter.mul_(1.5) if parameter.dim() == 2 else parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


def vae():
    return AutoencoderKL(
        block_out_channels=(4, 8), in_channels=3, out_channels=3, latent_channels=16, norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        use_quant_conv=False, use_post_quant_conv=False, scaling_factor=0.3611, shift_factor=0.1159,
    ).eval()


def scheduler(name):
    if name == "schnell":
        return FlowMatchEulerDiscreteScheduler(shift=1.0)
    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)


def build(name, out):
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    tokens = tokenizer(folder, "<|endoftext|>", 77, as_files=True)
    tokens_2 = t5_tokenizer(folder, as_json=name == "dev")
    pipeline = FluxPipeline(
        scheduler=scheduler(name), vae=vae(), text_encoder=text_encoder(tokens, "quick_gelu", 2, old_eos=False),
        tokenizer=tokens, text_encoder_2=t5_encoder(tokens_2), tokenizer_2=tokens_2, transformer=transformer(name == "dev"),
    )
    if name == "schnell":
        # halves first, so that the golden values are of what the files hold
        halve(pipeline.transformer, torch.bfloat16), halve(pipeline.text_encoder_2, torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    if name == "dev":
        pipeline.transformer.save_pretrained(folder / "transformer", max_shard_size="300KB")
        (folder / "transformer/diffusion_pytorch_model.safetensors").unlink(missing_ok=True)
    else:
        vocabulary = [path for path in (folder / "tokenizer_2").iterdir() if path.name != "spiece.model"]
        [path.unlink() for path in vocabulary]
        t5_tokenizer(folder, as_json=False)
        pipeline.text_encoder_2.to(torch.float16).save_pretrained(folder / "text_encoder_2")
        pipeline.text_encoder_2.to(torch.float32)
        (folder / "transformer/diffusion_pytorch_model.safetensors").unlink()
        state = {key: value.to(torch.bfloat16) for key, value in to_bfl(pipeline.transformer).items()}
        save_file(state, folder / "flux1-schnell.safetensors")
    return folder, pipeline


@torch.no_grad()
def halve(network, dtype):
    for parameter in network.parameters():
        parameter.copy_(parameter.to(dtype))


def to_bfl(network):
    """Black Forest Labs' names; checked against diffusers' own conversion in the other direction."""
    own = {key: value.detach() for key, value in network.state_dict().items()}
    theirs = {}

    def move(new, *old, swap=False):
        for kind in ["weight", "bias"]:
            if f"{old[0]}.{kind}" in own:
                value = torch.cat([own[f"{name}.{kind}"] for name in old])
                value = torch.cat(value.chunk(2)[::-1]) if swap else value
                theirs[f"{new}.{'scale' if 'norm.' in new else kind}"] = value.contiguous()

    for new, old in [("time_in", "timestep_embedder"), ("vector_in", "text_embedder"), ("guidance_in", "guidance_embedder")]:
        move(f"{new}.in_layer", f"time_text_embed.{old}.linear_1"), move(f"{new}.out_layer", f"time_text_embed.{old}.linear_2")
    move("img_in", "x_embedder"), move("txt_in", "context_embedder")
    move("final_layer.linear", "proj_out"), move("final_layer.adaLN_modulation.1", "norm_out.linear", swap=True)
    for index in range(network.config.num_layers):
        new, old = f"double_blocks.{index}", f"transformer_blocks.{index}"
        for stream, norm, qkv, added, out, ff in [
            ("img", "norm1", ["to_q", "to_k", "to_v"], "", "to_out.0", "ff"),
            ("txt", "norm1_context", ["add_q_proj", "add_k_proj", "add_v_proj"], "added_", "to_add_out", "ff_context"),
        ]:
            move(f"{new}.{stream}_mod.lin", f"{old}.{norm}.linear")
            move(f"{new}.{stream}_attn.qkv", *[f"{old}.attn.{name}" for name in qkv])
            move(f"{new}.{stream}_attn.norm.query_norm", f"{old}.attn.norm_{added}q")
            move(f"{new}.{stream}_attn.norm.key_norm", f"{old}.attn.norm_{added}k")
            move(f"{new}.{stream}_attn.proj", f"{old}.attn.{out}")
            move(f"{new}.{stream}_mlp.0", f"{old}.{ff}.net.0.proj"), move(f"{new}.{stream}_mlp.2", f"{old}.{ff}.net.2")
    for index in range(network.config.num_single_layers):
        new, old = f"single_blocks.{index}", f"single_transformer_blocks.{index}"
        move(f"{new}.modulation.lin", f"{old}.norm.linear"), move(f"{new}.linear2", f"{old}.proj_out")
        move(f"{new}.linear1", *[f"{old}.{name}" for name in ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]])
        move(f"{new}.norm.query_norm", f"{old}.attn.norm_q"), move(f"{new}.norm.key_norm", f"{old}.attn.norm_k")
    back = from_bfl(theirs)
    assert own.keys() == back.keys() and all(torch.equal(own[key], back[key]) for key in own)
    return theirs


def from_bfl(state):
    """diffusers' conversion, with our width in the place of the one that it assumes."""
    source = inspect.getsource(single_file_utils.convert_flux_transformer_checkpoint_to_diffusers)
    scope = dict(vars(single_file_utils))
    exec(source.replace("inner_dim = 3072", f"inner_dim = {WIDTH}"), scope)
    return scope["convert_flux_transformer_checkpoint_to_diffusers"](dict(state))


def cases(name, height, width, seed):
    base = {
        "prompt": CORPUS[0], "height": height, "width": width, "steps": 4, "guidance": 3.5, "seeds": [seed], "strength": None,
    }
    if name == "schnell":
        base |= {"guidance": 0.0}
    return {
        "t2i": base, "i2i": base | {"strength": 0.6, "steps": 5}, "batch": base | {"seeds": [seed, seed + 1], "prompt": ""},
        "batch-i2i": base | {"seeds": [seed, seed + 1], "strength": 0.75},
        "odd-size": base | {"height": height + 4, "width": width + 12, "steps": 2, "guidance": base["guidance"] * 2},
    }


@torch.no_grad()
def encode(pipeline, length, prompt):
    """A prompt's ids for T5, its states and CLIP's pooled state."""
    ids = pipeline.tokenizer_2(prompt, padding="max_length", max_length=length, truncation=True).input_ids
    # in f64: a text is mostly padding, over which torch's own sums in f32 are off by as much as is allowed
    pipeline.text_encoder_2.double()
    states, pooled, _ = pipeline.encode_prompt(prompt, None, max_sequence_length=length)
    pipeline.text_encoder_2.float()
    states = states.float()
    return {"ids": torch.tensor(ids), "states": states, "pooled": pooled}


@torch.no_grad()
def run(pipeline, text, case, keep):
    """One case; `keep(stage, tensor)` takes what is made on the way."""
    height, width = case["height"], case["width"]
    unpack = lambda x: pipeline._unpack_latents(x, height, width, pipeline.vae_scale_factor)
    if case["strength"] is not None:
        pipeline = FluxImg2ImgPipeline(**pipeline.components)
        pipeline.set_progress_bar_config(disable=True)
    states, pooled = text["states"], text["pooled"]
    images = len(case["seeds"])
    call = {
        "prompt_embeds": states.repeat(images, 1, 1), "pooled_prompt_embeds": pooled.repeat(images, 1), "height": height,
        "width": width, "num_inference_steps": case["steps"], "guidance_scale": case["guidance"], "output_type": "latent",
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in case["seeds"]],
    }
    if case["strength"] is not None:
        pixels = source_picture(height, width, case["seeds"][0])
        keep("source", torch.from_numpy(pixels))
        picture = torch.from_numpy(pixels.astype(np.float32) / 255.0).permute(2, 0, 1)[None]
        call |= {"image": (picture * 2 - 1).repeat(images, 1, 1, 1), "strength": case["strength"]}
    outputs, latents = [], []
    forward, step = pipeline.transformer.forward, pipeline.scheduler.step

    def recording_forward(*args, **kwargs):
        result = forward(*args, **kwargs)
        outputs.append(unpack(result[0]))
        return result

    # pipelines look at the signature before they pass a generator
    @functools.wraps(step)
    def recording_step(output, timestep, sample, *args, **kwargs):
        if not latents:
            latents.append(unpack(sample))
        result = step(output, timestep, sample, *args, **kwargs)
        latents.append(unpack(result[0]))
        return result

    pipeline.transformer.forward, pipeline.scheduler.step = recording_forward, recording_step
    try:
        final = unpack(pipeline(**call).images)
    finally:
        pipeline.transformer.forward, pipeline.scheduler.step = forward, step
    steps = len(outputs)
    keep("timesteps", pipeline.scheduler.timesteps[-steps:].to(torch.float64))
    keep("sigmas", pipeline.scheduler.sigmas[-steps - 1 :].to(torch.float64))
    keep("outputs", torch.stack(outputs)), keep("latents", torch.stack(latents))
    scaled = final / pipeline.vae.config.scaling_factor + pipeline.vae.config.shift_factor
    image = pipeline.vae.decode(scaled).sample
    keep("image", image)
    picture = pipeline.image_processor.postprocess(image, output_type="np")
    keep("pixels", torch.from_numpy((picture * 255).round().astype("uint8")))


def quantize(values, kind):
    """What fits into blocks, the rest in f16 or f32: as the makers of published files do it."""
    array = values.detach().to(torch.float32).numpy()
    if array.ndim == 1:
        return array, gguf.GGMLQuantizationType.F32
    if array.shape[-1] % 32:
        return array.astype(np.float16), gguf.GGMLQuantizationType.F16
    return gguf.quants.quantize(array, kind), kind


def write_gguf(path, architecture, state, kind):
    """Writes a file and returns what its values widen to."""
    writer, widened = gguf.GGUFWriter(path, architecture), {}
    for name, values in state.items():
        data, own = quantize(values, kind)
        writer.add_tensor(name, data, raw_dtype=own)
        widened[name] = torch.from_numpy(gguf.quants.dequantize(data, own).astype(np.float32).reshape(values.shape))
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    return widened


def t5_names(layers):
    """llama.cpp's names by transformers' names, from the package that writes its files."""
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.T5ENCODER, layers)
    return lambda name: table.get_name(name, try_suffixes=(".weight",))


@torch.no_grad()
def build_gguf(name, out, seed):
    folder = out / name
    (folder / "transformer").mkdir(parents=True, exist_ok=True), (folder / "text_encoder_2").mkdir(exist_ok=True)
    network, tensors = transformer(guidance=True), {}
    widened = write_gguf(folder / "transformer/flux1-dev.gguf", "flux", to_bfl(network), GGUF[name])
    network.load_state_dict(from_bfl(widened))
    network.save_config(folder / "transformer")
    inputs = {
        "latents": torch.randn(2, 16, 8, 12), "states": torch.randn(2, 24, WIDTH), "pooled": torch.randn(2, 16),
        "timesteps": torch.tensor([1000.0, 137.25]), "guidance": torch.tensor([3.5, 1.25]),
    }
    tokens = FluxPipeline._pack_latents(inputs["latents"], 2, 16, 8, 12)
    ids = FluxPipeline._prepare_latent_image_ids(2, 4, 6, "cpu", torch.float32)
    output = network(
        tokens, inputs["states"], inputs["pooled"], inputs["timesteps"] / 1000, ids, torch.zeros(24, 3), inputs["guidance"],
    ).sample
    tensors |= inputs | {"output": FluxPipeline._unpack_latents(output, 16, 24, 2)}
    encoder = t5_encoder(range(420))
    names = t5_names(encoder.config.num_layers)
    state = {key: value for key, value in encoder.state_dict().items() if key != "encoder.embed_tokens.weight"}
    widened = write_gguf(
        folder / "text_encoder_2/t5-encoder.gguf", "t5encoder", {names(key): value for key, value in state.items()}, GGUF[name]
    )
    encoder.load_state_dict({key: widened[names(key)] for key in state}, strict=False)
    ids = torch.randint(0, 420, (1, 40))
    tensors |= {"ids": ids, "t5": encoder.double()(ids).last_hidden_state.float()}
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "golden.safetensors")
    return folder


def blocks(out, seed):
    """Random bytes are valid blocks, but for their scales, which are halves: those that are no numbers are replaced."""
    tensors, random = {}, np.random.RandomState(seed)
    for name in BLOCKS:
        kind = gguf.GGMLQuantizationType[name]
        size = gguf.GGML_QUANT_SIZES[kind][1]
        data = random.randint(0, 256, (8, size), dtype=np.uint8)
        values = gguf.quants.dequantize(data, kind)
        sound = np.isfinite(values).all(axis=1) & (np.abs(values).max(axis=1) < 1e6)
        tensors[f"{name}/bytes"] = torch.from_numpy(data[sound].copy())
        tensors[f"{name}/values"] = torch.from_numpy(values[sound].astype(np.float32).copy())
    save_file(tensors, out / "blocks.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the weights, and of the first image")
    parser.add_argument("--height", type=int, default=16)
    parser.add_argument("--width", type=int, default=16)
    arguments = parser.parse_args()
    for name in ["dev", "schnell"]:
        torch.manual_seed(arguments.seed)
        folder, pipeline = build(name, arguments.out)
        pipeline.set_progress_bar_config(disable=True)
        asked, tensors = cases(name, arguments.height, arguments.width, arguments.seed), {}
        encoded = {prompt: encode(pipeline, LENGTH[name], prompt) for prompt in {case["prompt"] for case in asked.values()}}
        for prompt, text in encoded.items():
            tensors |= {f"{stage}/{prompt}": value.contiguous() for stage, value in text.items()}
        for case in asked:
            text = encoded[asked[case]["prompt"]]
            run(pipeline, text, asked[case], lambda stage, value: tensors.__setitem__(f"{case}/{stage}", value.contiguous()))
        texts = [{"text": text, "ids": pipeline.tokenizer_2(text).input_ids} for text in TEXTS]
        save_file(tensors, folder / "golden.safetensors")
        golden = {"cases": asked, "texts": texts}
        (folder / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    for name in GGUF:
        torch.manual_seed(arguments.seed)
        build_gguf(name, arguments.out, arguments.seed)
    blocks(arguments.out, arguments.seed)
    for path in sorted(arguments.out.iterdir()):
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        print(path.name, sum(file.stat().st_size for file in files) // 1024, "KiB")


if __name__ == "__main__":
    main()
