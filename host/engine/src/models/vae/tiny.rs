//! The small autoencoder TAESD (diffusers' `AutoencoderTiny`): plain convolutions between pictures within 0 to 1 and
//! latents that need no scaling. The checkpoint numbers its layers as one sequence, activations included.

use candle_core::{Result, Tensor};

use super::config::TinyConfig;
use crate::kernels::{Activation, Conv2d, Window, upsample_nearest};
use crate::weights::Builder;

const RGB: usize = 3;
/// Latents are squashed smoothly to within this before decoding.
const LATENT_LIMIT: f64 = 3.0;

/// Encoder and decoder.
#[derive(Debug)]
pub(crate) struct AutoencoderTiny {
    encoder: Vec<Layer>,
    decoder: Vec<Layer>,
}

/// One entry of the checkpoint's sequence; its place there is the number in the tensors' names.
#[derive(Debug)]
enum Layer {
    Conv(Conv2d),
    Activation(Activation),
    Block(Box<Block>),
    /// Nearest-neighbour upsampling, which has no weights but takes a number.
    Double,
}

impl AutoencoderTiny {
    pub(crate) fn load(config: &TinyConfig, vb: Builder) -> Result<Self> {
        Ok(Self {
            encoder: encoder(config, vb.pp("encoder").pp("layers"))?,
            decoder: decoder(config, vb.pp("decoder").pp("layers"))?,
        })
    }

    /// A picture within -1 to 1, to latents.
    pub(crate) fn encode(&self, picture: &Tensor) -> Result<Tensor> {
        run(&self.encoder, ((picture + 1.0)? / 2.0)?)
    }

    /// Latents to a picture within about -1 to 1.
    pub(crate) fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        let squashed = ((latents / LATENT_LIMIT)?.tanh()? * LATENT_LIMIT)?;
        (run(&self.decoder, squashed)? * 2.0)? - 1.0
    }
}

/// The first level keeps the size, each other one halves it.
fn encoder(config: &TinyConfig, vb: Builder) -> Result<Vec<Layer>> {
    let activation = activation(config)?;
    let mut layers = Vec::new();
    for (level, (width, blocks)) in
        config.encoder_block_out_channels.iter().zip(&config.num_encoder_blocks).enumerate()
    {
        let vb = |layers: &Vec<Layer>| vb.pp(layers.len());
        let conv = match level {
            0 => Conv2d::load(RGB, *width, Window::SAME, vb(&layers))?,
            _ => Conv2d::load_no_bias(*width, *width, Window::HALF, vb(&layers))?,
        };
        layers.push(Layer::Conv(conv));
        for _ in 0..*blocks {
            layers.push(Layer::Block(Box::new(Block::load(*width, activation, vb(&layers))?)));
        }
    }
    let width = config.encoder_block_out_channels[config.encoder_block_out_channels.len() - 1];
    let last = Conv2d::load(width, config.latent_channels, Window::SAME, vb.pp(layers.len()))?;
    layers.push(Layer::Conv(last));
    Ok(layers)
}

/// Levels double the size but for the last, whose convolution makes the picture. `LATENT_LIMIT` is no layer here: the
/// checkpoint does not count it.
fn decoder(config: &TinyConfig, vb: Builder) -> Result<Vec<Layer>> {
    let activation = activation(config)?;
    let widths = &config.decoder_block_out_channels;
    let first = Conv2d::load(config.latent_channels, widths[0], Window::SAME, vb.pp(0))?;
    let mut layers = vec![Layer::Conv(first), Layer::Activation(activation)];
    for (level, (width, blocks)) in widths.iter().zip(&config.num_decoder_blocks).enumerate() {
        let vb = |layers: &Vec<Layer>| vb.pp(layers.len());
        for _ in 0..*blocks {
            layers.push(Layer::Block(Box::new(Block::load(*width, activation, vb(&layers))?)));
        }
        if level + 1 < widths.len() {
            layers.push(Layer::Double);
            layers.push(Layer::Conv(Conv2d::load_no_bias(*width, *width, Window::SAME, vb(&layers))?));
        } else {
            layers.push(Layer::Conv(Conv2d::load(*width, RGB, Window::SAME, vb(&layers))?));
        }
    }
    Ok(layers)
}

fn activation(config: &TinyConfig) -> Result<Activation> {
    config.activation().map_err(candle_core::Error::wrap)
}

fn run(layers: &[Layer], x: Tensor) -> Result<Tensor> {
    layers.iter().try_fold(x, |x, layer| match layer {
        Layer::Conv(conv) => conv.forward(&x),
        Layer::Activation(activation) => activation.forward(&x),
        Layer::Block(block) => block.forward(&x),
        Layer::Double => {
            let (_, _, height, width) = x.dims4()?;
            upsample_nearest(&x, 2 * height, 2 * width)
        }
    })
}

/// Three convolutions beside a shortcut.
#[derive(Debug)]
struct Block {
    convs: [Conv2d; 3],
    activation: Activation,
}

impl Block {
    fn load(width: usize, activation: Activation, vb: Builder) -> Result<Self> {
        let conv = |index: usize| Conv2d::load(width, width, Window::SAME, vb.pp("conv").pp(index));
        Ok(Self { convs: [conv(0)?, conv(2)?, conv(4)?], activation })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.activation.forward(&self.convs[0].forward(x)?)?;
        let hidden = self.activation.forward(&self.convs[1].forward(&hidden)?)?;
        // ReLU always, whatever `act_fn` says: diffusers' `AutoencoderTinyBlock` fixes it
        (self.convs[2].forward(&hidden)? + x)?.relu()
    }
}
