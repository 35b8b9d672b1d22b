"""Makes the fixtures of FLUX for tests/golden.rs and tests/flux.rs: tiny random-weight pipelines and every stage of what diffusers makes of them.

    python make_flux.py --out fixtures                               # the committed ones
    python make_flux.py --out other --seed 7 --height 24 --width 40
    ATELIER_GOLDEN_DIR=$PWD/other cargo test --release --workspace --test golden --test flux

Four pipelines, each in files as people have them. `flux-dev` has guidance, shards in f32 and `tokenizer.json`; `flux-schnell`
has Black Forest Labs' single file in bf16, a T5 in f16 and `spiece.model`; `flux-q8` and `flux-q4` have GGUF files of the
transformer and of T5, with guidance and without. The reference runs with what these files widen to. Stages are named as in
common.py, latents are kept unpacked: (images, 16, h, w). `flux-q4/blocks.safetensors` has random blocks of the types of
few bits and their values, `flux-q4/k` a T5 in the types whose blocks hold 256 values, too wide for the other networks here.
"""

import functools
import inspect
import json
import shutil

import gguf
import numpy as np
import sentencepiece
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
)
from diffusers.loaders import single_file_utils
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel, T5Tokenizer

import common
from common import CORPUS, TEXTS, text_encoder, tokenizer

WIDTH, HEADS = 32, 2
LENGTH = {True: 512, False: 256}
HAS_GUIDANCE = {"flux-dev": True, "flux-schnell": False, "flux-q8": True, "flux-q4": False}
GGUF = {"flux-q8": gguf.GGMLQuantizationType.Q8_0, "flux-q4": gguf.GGMLQuantizationType.Q4_0}
# layers that the two kinds of files have joined, or in another order
ADAPTED = ["x_embedder", "transformer_blocks.0.attn.to_k", "single_transformer_blocks.1.proj_mlp", "norm_out.linear", "proj_out"]
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


def t5_encoder(tokens, **changes):
    config = {
        "vocab_size": len(tokens), "d_model": WIDTH, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
        "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
    }
    config = T5Config(**{**config, **changes})
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


def scheduler(guidance):
    if guidance:
        return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return FlowMatchEulerDiscreteScheduler(shift=1.0)


def build(name, folder):
    guidance, as_json = HAS_GUIDANCE[name], name != "flux-schnell"
    tokens = tokenizer(folder, "<|endoftext|>", 77, as_files=True)
    tokens_2 = t5_tokenizer(folder, as_json)
    return FluxPipeline(
        scheduler=scheduler(guidance), vae=vae(), text_encoder=text_encoder(tokens, "quick_gelu", 2, old_eos=False),
        tokenizer=tokens, text_encoder_2=t5_encoder(tokens_2), tokenizer_2=tokens_2, transformer=transformer(guidance),
    )


@torch.no_grad()
def files(name, pipeline, folder, arguments):
    """The large networks as this repository has them, in place of what diffusers wrote, and what lies beside them."""
    if name == "flux-dev":
        shards(pipeline, folder)
    elif name == "flux-schnell":
        single_file(pipeline, folder)
    else:
        gguf_files(GGUF[name], pipeline, folder)
    if name == "flux-q4":
        blocks(folder, arguments.seed), k_quants(folder / "k", arguments.seed)
    if name not in GGUF:
        pipeline.adapters = {"adapter": adapter(pipeline.transformer)}
        save_file(pipeline.adapters["adapter"], folder / "adapter.safetensors")
    # FLUX was trained on pictures of a size that no file says; the stand-in's is that of the cases
    own = {"width": arguments.width, "height": arguments.height, "min_side": 4}
    (folder / "atelier.json").write_text(json.dumps(own) + "\n")
    texts = [{"text": text, "ids": pipeline.tokenizer_2(text).input_ids} for text in TEXTS]
    (folder / "texts_2.json").write_text(json.dumps(texts, indent=1, ensure_ascii=False) + "\n")


def adapter(network):
    """A LoRA as peft writes it."""
    tensors = {}
    for name in ADAPTED:
        outputs, inputs = network.get_submodule(name).weight.shape
        for kind, shape in [("A", (2, inputs)), ("B", (outputs, 2))]:
            tensors[f"transformer.{name}.lora_{kind}.weight"] = torch.randn(shape) * 0.3
    return tensors


def shards(pipeline, folder):
    """As the larger repositories have it."""
    shutil.rmtree(folder / "transformer")
    pipeline.transformer.save_pretrained(folder / "transformer", max_shard_size="300KB")


def single_file(pipeline, folder):
    """Black Forest Labs' own file beside the folder, and halves; golden values are of what the files hold."""
    shutil.rmtree(folder / "tokenizer_2")
    t5_tokenizer(folder, as_json=False)
    halve(pipeline.transformer, torch.bfloat16), halve(pipeline.text_encoder_2, torch.float16)
    pipeline.text_encoder_2.to(torch.float16).save_pretrained(folder / "text_encoder_2")
    pipeline.text_encoder_2.to(torch.float32)
    (folder / "transformer/diffusion_pytorch_model.safetensors").unlink()
    state = {key: value.to(torch.bfloat16) for key, value in to_bfl(pipeline.transformer).items()}
    save_file(state, folder / "flux1-schnell.safetensors")


def gguf_files(kind, pipeline, folder):
    """Both large networks in blocks of a few bits. Nothing but the file says what T5 is like."""
    network, encoder = pipeline.transformer, pipeline.text_encoder_2
    (folder / "transformer/diffusion_pytorch_model.safetensors").unlink()
    network.load_state_dict(from_bfl(
        write_gguf(folder / "transformer/flux1.gguf", "flux", to_bfl(network), lambda _, values: quantize(values, kind))
    ))
    shutil.rmtree(folder / "text_encoder_2")
    (folder / "text_encoder_2").mkdir()
    t5_file(folder, encoder, lambda _, values: quantize(values, kind))


def t5_file(folder, encoder, encode):
    """Writes an encoder under llama.cpp's names, from the package that writes its files, and leaves it with what they widen to."""
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.T5ENCODER, encoder.config.num_layers)
    own = {key: value for key, value in encoder.state_dict().items() if key != "encoder.embed_tokens.weight"}
    names = {key: table.get_name(key, try_suffixes=(".weight",)) for key in own}
    state = {names[key]: value for key, value in own.items()}
    widened = write_gguf(folder / "text_encoder_2/t5-encoder.gguf", "t5encoder", state, encode)
    widened = {key: widened[names[key]] for key in own}
    encoder.load_state_dict(widened | {"encoder.embed_tokens.weight": widened["shared.weight"]})


@torch.no_grad()
def k_quants(folder, seed):
    """Nothing but llama.cpp quantizes to these, so that the blocks are random, with scales that keep the values small."""
    (folder / "text_encoder_2").mkdir(parents=True, exist_ok=True)
    encoder, random = t5_encoder(range(40), d_model=256, d_kv=64, d_ff=256, num_layers=1), np.random.RandomState(seed)
    scale = lambda value: np.frombuffer(np.float16(value).tobytes(), np.uint8)

    def encode(name, values):
        if values.ndim == 1 or values.shape[-1] % 256:
            return values.numpy(), gguf.GGMLQuantizationType.F32
        # as llama.cpp's mixtures have it: more bits for some
        kind = gguf.GGMLQuantizationType.Q6_K if name.endswith(("attn_v.weight", "ffn_down.weight", "embd.weight")) else gguf.GGMLQuantizationType.Q4_K
        size = gguf.GGML_QUANT_SIZES[kind][1]
        blocks = random.randint(0, 256, (values.shape[0], values.shape[1] // 256, size), dtype=np.uint8)
        if kind == gguf.GGMLQuantizationType.Q6_K:
            blocks[..., -2:] = scale(2.5e-5)
        else:
            blocks[..., :2], blocks[..., 2:4] = scale(1e-4), scale(7.5e-4)
        return blocks.reshape(values.shape[0], -1), kind

    t5_file(folder, encoder, encode)
    ids = torch.randint(0, 40, (1, 48))
    save_file({"ids": ids, "states": encoder.double()(ids).last_hidden_state.float()}, folder / "golden.safetensors")


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


def cases(name, arguments):
    guidance = 3.5 if HAS_GUIDANCE[name] else 0.0
    case = functools.partial(common.case, arguments, prompt=CORPUS[0], schedule="flow_match_euler", guidance=guidance)
    pair = [arguments.seed, arguments.seed + 1]
    first = {"t2i": case(), "i2i": case(strength=0.6, steps=5)}
    if name in GGUF:
        return first
    return first | {
        "batch": case(seeds=pair, prompt=""), "batch-i2i": case(seeds=pair, strength=0.75),
        "adapter": case(adapters=[["adapter", 0.7]], steps=2), "inpaint": case(inpaint=True), "inpaint-part": case(inpaint=True, strength=0.7, seeds=pair),
        "odd-size": case(height=arguments.height + 4, width=arguments.width + 12, steps=2, guidance=2 * guidance),
    }


@torch.no_grad()
def encode(pipeline, prompt, length):
    """T5's states and CLIP's pooled state."""
    # in f64: a text is mostly padding, over which torch's own sums in f32 are off by as much as is allowed
    pipeline.text_encoder_2.double()
    states, pooled, _ = pipeline.encode_prompt(prompt, None, max_sequence_length=length)
    pipeline.text_encoder_2.float()
    return states.float(), pooled


@torch.no_grad()
def run(pipeline, base, case, keep):
    """One case; `keep(stage, tensor)` takes what is made on the way."""
    for file, weight in case.get("adapters", []):
        pipeline.load_lora_weights(dict(pipeline.adapters[file]), adapter_name=file)
        pipeline.set_adapters([file], [weight])
    height, width, images = case["height"], case["width"], len(case["seeds"])
    length = LENGTH[pipeline.transformer.config.guidance_embeds]
    unpack = lambda x: pipeline._unpack_latents(x, height, width, pipeline.vae_scale_factor)
    states, pooled = encode(pipeline, case["prompt"], length)
    ids = pipeline.tokenizer_2(case["prompt"], padding="max_length", max_length=length, truncation=True).input_ids
    keep("ids_2", torch.tensor(ids)), keep("context", states), keep("pooled", pooled)
    source, class_ = {}, FluxPipeline
    if case["inpaint"] or case["strength"] is not None:
        pixels = common.source_picture(height, width, case["seeds"][0])
        keep("source", torch.from_numpy(pixels))
        picture = common.as_tensor(pixels)
        source = {"image": (picture * 2 - 1).repeat(images, 1, 1, 1), "strength": case["strength"] or 1.0}
        class_ = FluxImg2ImgPipeline
    if case["inpaint"]:
        mask = common.mask_of(pixels)
        keep("mask", torch.from_numpy(mask))
        source["mask_image"] = torch.from_numpy(mask[None, None, :, :, 0] / 255.0).float()
        class_ = FluxInpaintPipeline
    pipeline = class_(**pipeline.components)
    pipeline.set_progress_bar_config(disable=True)
    outputs, latents = [], []
    forward = pipeline.transformer.forward

    def recording_forward(*args, **kwargs):
        if not latents:
            latents.append(unpack(kwargs["hidden_states"]))
        result = forward(*args, **kwargs)
        outputs.append(unpack(result[0]))
        return result

    # after what inpainting puts back
    def after_step(_, index, timestep, values):
        latents.append(unpack(values["latents"]))
        return {}

    pipeline.transformer.forward = recording_forward
    try:
        pipeline(
            prompt_embeds=states.repeat(images, 1, 1), pooled_prompt_embeds=pooled.repeat(images, 1), height=height, width=width,
            num_inference_steps=case["steps"], guidance_scale=case["guidance"], output_type="latent",
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in case["seeds"]], callback_on_step_end=after_step, **source,
        )
    finally:
        pipeline.transformer.forward = forward
    if "adapters" in case:
        pipeline.unload_lora_weights()
    steps, vae = len(outputs), pipeline.vae
    keep("timesteps", pipeline.scheduler.timesteps[-steps:].to(torch.float64))
    keep("sigmas", pipeline.scheduler.sigmas[-steps - 1 :].to(torch.float64))
    keep("outputs", torch.stack(outputs)), keep("latents", torch.stack(latents))
    image = vae.decode(latents[-1] / vae.config.scaling_factor + vae.config.shift_factor).sample
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


def write_gguf(path, architecture, state, encode):
    """Writes a file and returns what its values widen to."""
    writer, widened = gguf.GGUFWriter(path, architecture), {}
    for name, values in state.items():
        data, own = encode(name, values)
        writer.add_tensor(name, data, raw_dtype=own)
        widened[name] = torch.from_numpy(gguf.quants.dequantize(data, own).astype(np.float32).reshape(values.shape))
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    return widened


def blocks(folder, seed):
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
    save_file(tensors, folder / "blocks.safetensors")


if __name__ == "__main__":
    of = lambda name: [functools.partial(build, name), functools.partial(cases, name), run, functools.partial(files, name)]
    common.main(__doc__, {name: of(name) for name in HAS_GUIDANCE})
