//! How much memory a run will take, told from the configurations alone, before anything is loaded. An upper bound near
//! the truth: `tests/memory.rs` holds it against what is really allocated.
//!
//! The denoiser and the autoencoder each have a widest moment; what they hold then grows with the picture's area and with
//! nothing else, since attention never holds its scores whole. It is counted in values (f32) for one pixel, along the
//! forward passes of `models/`: whoever changes what these keep alive changes this as well.

use atelier_inference::{Decoder, ImageOrder, MAX_EVENTS, StepCache};
use candle_core::Device;

use super::denoiser::DenoiserConfig;
use super::guidance::Guidance;
use super::lane;
use super::preview::MAX_SIDE;
use super::prompt::MAX_CHUNKS;
use crate::kernels;
use crate::models::clip::ClipConfig;
use crate::models::flux::FluxConfig;
use crate::models::t5::T5Config;
use crate::models::unet::{BlockConfig, BlockKind, UNetConfig, skips};
use crate::models::vae::{Tiling, VaeConfig};

/// Bytes of a value.
const VALUE: f64 = 4.0;
/// Bytes kept for each pixel of each picture while the last one is decoded and turned into pixels.
const KEPT_PER_PIXEL: f64 = 40.0;
/// Tensors shaped like the latents: those of the loop and what a multistep schedule remembers.
const LATENTS: f64 = 16.0;
/// FLUX's schedule remembers nothing.
const FLUX_LATENTS: f64 = 8.0;
/// Of a transformer block with its feed-forward part, in widths of the block.
const TRANSFORMER: f64 = 18.0;
/// More of it where the gate is computed by tensor operations.
const UNFUSED_GATE: f64 = 8.0;
/// Of FLUX's blocks, in widths for a token: the states, and what attention and feed-forward part make beside each other.
const FLUX_BLOCK: f64 = 13.0;
/// What its first-block cache keeps, likewise: what the first block and the others added, and the first one's output
/// until the others have run.
const FIRST_BLOCK: f64 = 3.0;
/// Rows of the input that are packed at a time where a weight is in few bits, and the widest input of FLUX in widths.
const PACKED_ROWS: f64 = 384.0;
const FLUX_INPUTS: f64 = 5.0;
/// T5's layers, in widths of the states and of the feed-forward part.
const T5_STATES: f64 = 8.0;
const T5_FEED_FORWARD: f64 = 4.0;
/// Scores of T5 in f32 and, for their sums, in f64; a slice of them has at most so many bytes.
const T5_SCORES: f64 = 6.0;
const SLICE_BYTES: f64 = 64.0 * 1024.0 * 1024.0;
/// Of attention between the pixels of a latent picture, in widths.
const PIXEL_ATTENTION: f64 = 12.0;
/// Panels that a thread packs for itself.
const THREAD_BYTES: f64 = 1e6;
/// Scores at a time where attention is computed by tensor operations, with those it is computed from.
const SCORE_BYTES: f64 = 4.0 * 64.0 * 1024.0 * 1024.0;

/// What runs of one model take.
#[derive(Debug, Clone)]
pub(crate) struct Footprint {
    device: Device,
    /// Bytes of one prediction at its widest, for a pixel of the picture.
    predict: f64,
    /// Bytes of one prediction beside that, for texts of one length.
    predict_text: f64,
    /// Bytes of T5 at its widest, which is over before the first step.
    encode_text: f64,
    /// More of it under ControlNets, whose answers and own skips are held beside the denoiser's.
    steer: f64,
    /// Bytes for each control picture's embedding, for a pixel of the picture.
    control: f64,
    /// Bytes that a step cache keeps of one prediction, for a pixel of the picture: those of the deepest skip that is
    /// computed anew, branch by branch, or of the first block alone.
    cached: Vec<f64>,
    /// Bytes of encoding or decoding at its widest, for a pixel of the picture.
    decode: f64,
    /// The same for decoding by the small autoencoder.
    decode_tiny: f64,
    /// How the picture is cut if it has to be.
    tiling: Option<Tiling>,
    /// Bytes that a run may take at most beside its model.
    room: f64,
    /// Bytes for each pixel of each picture, as long as the run lasts.
    kept: f64,
    /// Bytes for each token of the longer text.
    token: f64,
    /// Tokens of a chunk, with those that begin and end it.
    chunk: usize,
    /// Most chunks that are encoded.
    max_chunks: usize,
    /// Whether guidance is an input, so that one prediction is enough.
    takes_guidance: bool,
    /// Bytes whatever the order.
    fixed: f64,
}

/// A model's networks, by their configurations.
#[derive(Clone, Copy)]
pub(crate) struct Networks<'a> {
    /// Of every CLIP encoder.
    pub(crate) text: &'a [ClipConfig],
    pub(crate) t5: Option<&'a T5Config>,
    pub(crate) denoiser: &'a DenoiserConfig,
    pub(crate) vae: &'a VaeConfig,
    /// The small autoencoder beside the model's own.
    pub(crate) tiny: Option<&'a VaeConfig>,
}

/// What layers hold for a moment, in copies of their input.
#[derive(Clone, Copy)]
struct Scratch {
    /// A convolution: a copy with a margin, or the picture unrolled for a kernel of nine pixels.
    conv: f64,
    /// A norm beside its output.
    norm: f64,
    /// A transformer block, in widths.
    transformer: f64,
}

impl Footprint {
    /// `room` are the bytes that a run may take.
    pub(crate) fn new(networks: Networks<'_>, room: u64, device: &Device) -> Self {
        let Networks { text, t5, denoiser, vae, tiny } = networks;
        let is_packed = kernels::are_packed(device);
        let scratch = match is_packed {
            true => Scratch { conv: 1.0, norm: 0.0, transformer: TRANSFORMER },
            false => Scratch { conv: 9.0, norm: 3.0, transformer: TRANSFORMER + UNFUSED_GATE },
        };
        let latents_per_pixel = (vae.factor() as f64).powi(-2);
        let threads = rayon::current_num_threads() as f64;
        let (latent, predict_text, widest, latents) = match denoiser {
            DenoiserConfig::UNet(unet) => (scratch.unet(unet), 0.0, 4.0 * widest_block(unet), LATENTS),
            DenoiserConfig::Flux(flux) => {
                let (token, patch) = (flux_token(flux), flux.patch() as f64);
                (token / patch.powi(2), flux_text(flux, token, is_packed), 0.0, FLUX_LATENTS)
            }
        };
        let (steer, control) = match denoiser {
            DenoiserConfig::UNet(unet) => {
                (2.0 * kept(unet), unet.down.first().map_or(0, |block| block.channels) as f64)
            }
            DenoiserConfig::Flux(_) => (0.0, 0.0),
        };
        let cached = match denoiser {
            DenoiserConfig::UNet(unet) => states_of_skips(unet),
            DenoiserConfig::Flux(flux) => {
                vec![FIRST_BLOCK * flux.width() as f64 / (flux.patch() as f64).powi(2)]
            }
        };
        Self {
            device: device.clone(),
            cached: cached.into_iter().map(|values| VALUE * latents_per_pixel * values).collect(),
            predict: VALUE * latents_per_pixel * latent,
            predict_text: VALUE * predict_text,
            encode_text: t5.map_or(0.0, |t5| t5_bytes(t5, denoiser)),
            steer: VALUE * latents_per_pixel * steer,
            control: VALUE * latents_per_pixel * control,
            decode: VALUE * scratch.vae(vae),
            decode_tiny: VALUE * scratch.vae(tiny.unwrap_or(vae)),
            tiling: vae.tiling(),
            room: room as f64,
            kept: KEPT_PER_PIXEL + VALUE * latents * vae.latent_channels() as f64 * latents_per_pixel,
            token: VALUE * (text.iter().map(clip_token).sum::<f64>() + widest),
            chunk: text.iter().map(|text| text.max_position_embeddings).max().unwrap_or_default(),
            max_chunks: if t5.is_some() { 1 } else { MAX_CHUNKS },
            takes_guidance: denoiser.takes_guidance(),
            fixed: THREAD_BYTES * threads + if is_packed { 0.0 } else { SCORE_BYTES },
        }
    }

    /// Bytes that the order's run takes at its widest.
    pub(crate) fn bytes(&self, order: &ImageOrder) -> u64 {
        let decode = if self.is_tiled(order) { self.tiles(order) } else { self.decoded_whole(order) };
        // saturates: no picture that an order may ask for comes near the end of u64
        self.with_decoder(order, decode).ceil() as u64
    }

    /// Whether the picture is decoded in tiles: it would not fit whole. Depends on the host's memory as it is set up, and
    /// not on what is free at the moment, so that the same request gives the same bytes.
    pub(crate) fn is_tiled(&self, order: &ImageOrder) -> bool {
        let decodes_only = order.decoder == Decoder::Full && order.task.picture().is_none();
        let (whole, tiles) = (self.decoded_whole(order), self.tiles(order));
        let whole = self.with_decoder(order, whole);
        decodes_only && self.tiling.is_some() && whole > self.room && self.with_decoder(order, tiles) < whole
    }

    fn with_decoder(&self, order: &ImageOrder, decode: f64) -> f64 {
        let (pixels, pictures) = (pixels(order), order.seeds.len());
        let together = lane(&self.device, order) as f64;
        let predictions = Guidance::of(order, self.takes_guidance).branches() as f64;
        let steer = if order.controls.is_empty() { 0.0 } else { self.steer };
        let predict = (pixels * (self.predict + steer) + self.predict_text) * predictions;
        let controls = pixels * self.control * order.controls.len() as f64;
        // of every picture, whether its lane runs or waits
        let kept = pixels * (self.kept + self.cached(order) * predictions) * pictures as f64;
        let run = predict.max(decode) * together + controls + kept;
        self.fixed + run.max(self.encode_text) + self.texts(order) + previews(order)
    }

    /// Bytes that the order's step cache keeps of one prediction, for a pixel of the picture.
    fn cached(&self, order: &ImageOrder) -> f64 {
        let branch = match order.step_cache {
            None => return 0.0,
            Some(StepCache::Deep { branch, .. }) => branch as usize,
            Some(StepCache::FirstBlock { .. }) => 0,
        };
        self.cached.get(branch).copied().unwrap_or_default()
    }

    fn decoded_whole(&self, order: &ImageOrder) -> f64 {
        let is_tiny = order.decoder == Decoder::Tiny && order.task.picture().is_none();
        pixels(order) * if is_tiny { self.decode_tiny } else { self.decode }
    }

    /// One tile at a time, beside the rows that are put together.
    fn tiles(&self, order: &ImageOrder) -> f64 {
        const ROWS: f64 = 4.0;
        let side = self.tiling.map_or(0, |tiling| tiling.side * tiling.factor) as f64;
        self.decode * side * side + VALUE * ROWS * pixels(order) * 3.0
    }

    /// Bytes of the texts, if every token were a single byte long.
    fn texts(&self, order: &ImageOrder) -> f64 {
        let longest = order.prompt.len().max(order.negative_prompt.len());
        let chunks = longest.div_ceil(self.chunk.saturating_sub(2).max(1)).clamp(1, self.max_chunks);
        self.token * (chunks * self.chunk) as f64
    }
}

fn pixels(order: &ImageOrder) -> f64 {
    f64::from(order.size.width) * f64::from(order.size.height)
}

/// Bytes of all previews that may wait for a slow reader.
fn previews(order: &ImageOrder) -> f64 {
    let side = |pixels: u32| f64::from(pixels).min(MAX_SIDE as f64);
    let preview = side(order.size.width) * side(order.size.height) * VALUE;
    if order.preview_every.is_some() { preview * MAX_EVENTS as f64 } else { 0.0 }
}

/// Values for a token in the layers of a text encoder.
fn clip_token(text: &ClipConfig) -> f64 {
    let (width, inner) = (text.hidden_size as f64, text.intermediate_size as f64);
    let scores = (text.num_attention_heads * text.max_position_embeddings) as f64;
    12.0 * width + 4.0 * inner + 4.0 * scores
}

/// Channels of the widest block: what the denoiser makes of a text's states has as many.
fn widest_block(unet: &UNetConfig) -> f64 {
    unet.down.iter().map(|block| block.channels).max().unwrap_or_default() as f64
}

/// Values for a token of text or image at the widest moment, the rotation's angles included.
fn flux_token(flux: &FluxConfig) -> f64 {
    FLUX_BLOCK * flux.width() as f64 + flux.attention_head_dim as f64
}

/// Values that a prediction takes whatever the picture: the text's tokens and their states, and the input that is packed
/// for a weight of few bits or, on devices without a kernel, that weight in f32.
fn flux_text(flux: &FluxConfig, token: f64, is_packed: bool) -> f64 {
    let rows = if is_packed { PACKED_ROWS } else { flux.width() as f64 };
    let states = 2.0 * flux.joint_attention_dim as f64;
    flux.text_tokens() as f64 * (token + states) + rows * FLUX_INPUTS * flux.width() as f64
}

/// Bytes of T5 for a text of the denoiser's length: the bias that all layers share, and a layer.
fn t5_bytes(t5: &T5Config, denoiser: &DenoiserConfig) -> f64 {
    let DenoiserConfig::Flux(flux) = denoiser else { return 0.0 };
    let tokens = flux.text_tokens() as f64;
    let scores = VALUE * t5.num_heads as f64 * tokens * tokens;
    let layer = T5_STATES * t5.d_model as f64 + T5_FEED_FORWARD * t5.d_ff as f64;
    scores + T5_SCORES * scores.min(SLICE_BYTES) + VALUE * tokens * layer
}

impl Scratch {
    /// A resnet, its input left out: the first convolution, or the second beside the shortcut.
    fn resnet(self, inputs: f64, outputs: f64) -> f64 {
        let copies = self.conv.max(self.norm);
        (inputs * (1.0 + copies) + outputs).max(outputs * (3.0 + copies))
    }

    /// Upsampling to a picture of four times the pixels: values for a pixel of the larger one.
    fn upsample(self, width: f64) -> f64 {
        width * (0.25 + 1.0 + self.conv + 1.0)
    }

    /// Values for a pixel of the latents: every skip, and the widest layer of the way down or up.
    fn unet(self, config: &UNetConfig) -> f64 {
        let (skips, kept) = (skips(config), kept(config));
        let down = config.down.iter().enumerate().map(|(level, block)| self.layer(block, level, 0.0));
        // on the way up a layer's input is what came from below and a skip, apart and joined
        let mut below = config.down.last().map_or(0, |block| block.channels);
        let mut left = skips.iter().rev();
        let up = config.up.iter().rev().enumerate().rev().map(|(level, block)| {
            let mut widest = self.upsample(block.channels as f64) * part(level.saturating_sub(1));
            for _ in 0..block.resnets {
                let inputs = below + left.next().map_or(0, |(channels, _)| *channels);
                widest = widest.max(self.layer(block, level, inputs as f64));
                below = block.channels;
            }
            widest
        });
        kept + down.chain(up).fold(0.0, f64::max)
    }

    /// A resnet of so many joined inputs (none on the way down, where they are the block's own width) and what follows.
    fn layer(self, block: &BlockConfig, level: usize, joined: f64) -> f64 {
        let width = block.channels as f64;
        let inputs = if joined > 0.0 { 2.0 * joined } else { width };
        let attention = if block.kind == BlockKind::CrossAttention { self.transformer * width } else { 0.0 };
        part(level) * (inputs + self.resnet(joined.max(width), width).max(attention))
    }

    /// Values for a pixel of the picture, encoding or decoding.
    fn vae(self, config: &VaeConfig) -> f64 {
        match config {
            VaeConfig::Kl(config) => self.levels(&config.block_out_channels, true),
            VaeConfig::Tiny(config) => {
                let widths = |list: &[usize]| list.iter().rev().copied().collect::<Vec<_>>();
                let decoder = self.levels(&widths(&config.decoder_block_out_channels), false);
                decoder.max(self.levels(&config.encoder_block_out_channels, false))
            }
        }
    }

    /// `widths` are those of the levels, from the picture's own size down.
    fn levels(self, widths: &[usize], has_attention: bool) -> f64 {
        let level = |(level, width): (usize, &usize)| {
            let width = *width as f64;
            let below = widths.get(level + 1).map_or(width, |below| *below as f64);
            // what comes from below was brought to this level's size at its own width
            let resnet = width.max(below) + self.resnet(below.max(width), width);
            let upsampled = if level + 1 < widths.len() { self.upsample(below) } else { 0.0 };
            part(level) * resnet.max(upsampled)
        };
        let smallest = widths.last().copied().unwrap_or_default() as f64;
        let attention = if has_attention { PIXEL_ATTENTION * smallest * part(widths.len() - 1) } else { 0.0 };
        widths.iter().enumerate().map(level).fold(attention, f64::max)
    }
}

/// Values for a pixel of the latents that all skips hold together.
fn kept(config: &UNetConfig) -> f64 {
    skips(config).iter().map(|(channels, level)| *channels as f64 * part(*level)).sum()
}

/// Values for a pixel of the latents that come up to each skip, from the first skip on.
fn states_of_skips(config: &UNetConfig) -> Vec<f64> {
    let mut below = config.down.last().map_or(0, |block| block.channels);
    let layers = config.up.iter().flat_map(|block| std::iter::repeat_n(block.channels, block.resnets));
    let mut states: Vec<f64> = Vec::new();
    for (channels, (_, level)) in layers.zip(skips(config).into_iter().rev()) {
        states.push(below as f64 * part(level));
        below = channels;
    }
    states.reverse();
    states
}

/// The part of the pixels that is left after halving both sides so often.
fn part(level: usize) -> f64 {
    0.25f64.powi(level as i32)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use atelier_inference::{
        CacheKind, Features, ImageModel, ImageRequest, ModelCard, ModelId, Precision, Size,
    };

    use super::*;
    use crate::files::ModelFiles;

    /// Stable Diffusion 1.5.
    const FILES: &[(&str, &[u8])] = &[
        ("text_encoder/config.json", br#"{"hidden_size": 768, "intermediate_size": 3072}"#),
        ("unet/config.json", br#"{"cross_attention_dim": 768, "sample_size": 64}"#),
        (
            "vae/config.json",
            br#"{"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
                 "sample_size": 512}"#,
        ),
    ];

    fn footprint(room: u64) -> Footprint {
        let files = ModelFiles::embedded(FILES);
        let text = ClipConfig::read(&files, "text_encoder").unwrap();
        let denoiser = &DenoiserConfig::UNet(UNetConfig::read(&files).unwrap());
        let (text, vae) = (&[text], &VaeConfig::read(&files, "vae").unwrap());
        Footprint::new(Networks { text, t5: None, denoiser, vae, tiny: None }, room, &Device::Cpu)
    }

    fn order(side: u32, decoder: Decoder) -> ImageOrder {
        let model = ImageModel {
            card: ModelCard {
                id: ModelId::new("sd15"),
                family: String::new(),
                source: String::new(),
                description: String::new(),
                memory_bytes: 0,
                device: "cpu".into(),
            },
            features: Features::ALL,
            native_size: Size { width: 512, height: 512 },
            min_side: 64,
            max_side: 1_024,
            side_multiple: 8,
            sizes: Vec::new(),
            default_steps: 25,
            default_guidance: 7.5,
            default_strength: 0.8,
            default_image_guidance: 1.5,
            schedules: vec!["ddim".into()],
            adapters: Vec::new(),
            controls: Vec::new(),
            words: Vec::new(),
            refiners: Vec::new(),
            refiner: None,
            step_cache: CacheKind::Deep { branches: 12 },
            precision: Precision::F32,
        };
        let size = Some(Size { width: side, height: side });
        let request = ImageRequest { size, decoder, ..ImageRequest::default() };
        ImageOrder::with(request, &Arc::new(model)).unwrap()
    }

    #[test]
    fn a_picture_is_decoded_in_tiles_when_it_does_not_fit_whole_by_one_byte() {
        let needs = footprint(u64::MAX).bytes(&order(1_024, Decoder::Full));
        assert!(!footprint(needs).is_tiled(&order(1_024, Decoder::Full)));
        let tight = footprint(needs - 1);
        assert!(tight.is_tiled(&order(1_024, Decoder::Full)));
        assert!(tight.bytes(&order(1_024, Decoder::Full)) < needs);
        // the small autoencoder needs no tiles, and a picture of one tile has none
        assert!(!footprint(0).is_tiled(&order(1_024, Decoder::Tiny)));
        assert!(!footprint(0).is_tiled(&order(512, Decoder::Full)));
    }
}
