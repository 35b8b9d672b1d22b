//! Prompts to the states that the denoiser looks at. A prompt longer than the encoder's context is cut into chunks that
//! are encoded one by one and joined; nothing of it is dropped.

use atelier_inference::Job;
use candle_core::Tensor;

use super::Pipeline;
use crate::models::clip;
use crate::tokenizer::ClipTokenizer;
use crate::{Error, Result};

/// Most chunks: the cost of cross attention grows with them. Enough for 4,096 characters of two tokens each.
pub(super) const MAX_CHUNKS: usize = 128;

/// The text as the denoiser sees it.
#[derive(Debug)]
pub struct Conditioning {
    /// The prompt: (1, chunks * tokens, width).
    pub prompt: Tensor,
    /// The negative prompt, shaped alike; `None` when guidance is off.
    pub negative: Option<Tensor>,
    /// Says where a text took more than one chunk.
    pub notes: Vec<String>,
}

/// A text as rows of ids, each a full sequence: `bos`, a chunk, `eos`, padding.
#[doc(hidden)]
pub fn chunks(tokenizer: &ClipTokenizer, text: &str) -> Result<Vec<Vec<u32>>> {
    let ids = tokenizer.ids(text)?;
    let mut rows: Vec<_> = ids.chunks(tokenizer.max_length - 2).map(|chunk| row(tokenizer, chunk)).collect();
    if rows.is_empty() {
        rows.push(row(tokenizer, &[]));
    }
    Ok(rows)
}

/// One full sequence of `max_length` ids. `chunk` leaves room for `bos` and `eos`.
fn row(tokenizer: &ClipTokenizer, chunk: &[u32]) -> Vec<u32> {
    let mut row = [&[tokenizer.bos], chunk, &[tokenizer.eos]].concat();
    row.resize(tokenizer.max_length, tokenizer.pad);
    row
}

impl Pipeline {
    /// Encodes a job's texts. As in diffusers, `clip_skip` concerns the prompt alone.
    pub(super) fn condition(&self, job: &Job) -> Result<Conditioning> {
        let is_guided = job.guidance > 1.0 && !self.unet.takes_guidance();
        let mut prompt = self.chunks("prompt", &job.prompt)?;
        let mut negative =
            if is_guided { self.chunks("negative-prompt", &job.negative_prompt)? } else { Vec::new() };
        let notes = [("prompt", &prompt), ("negative prompt", &negative)];
        let notes = notes.into_iter().filter_map(|(name, rows)| self.note(name, rows.len())).collect();
        // both predictions are made in one pass, so both texts need the same number of tokens: empty chunks fill up
        let longest = prompt.len().max(negative.len());
        prompt.resize(longest, row(&self.tokenizer, &[]));
        let prompt = self.encode(&prompt, self.skip(job)?)?;
        let negative = is_guided.then(|| {
            negative.resize(longest, row(&self.tokenizer, &[]));
            self.encode(&negative, 0)
        });
        Ok(Conditioning { prompt, negative: negative.transpose()?, notes })
    }

    /// The chunks of a request's field, if they are not too many.
    fn chunks(&self, field: &'static str, text: &str) -> Result<Vec<Vec<u32>>> {
        let rows = chunks(&self.tokenizer, text)?;
        if rows.len() > MAX_CHUNKS {
            let most = MAX_CHUNKS * (self.tokenizer.max_length - 2);
            return Err(Error::Invalid {
                field,
                reason: format!("is longer than {most} tokens; shorten it"),
            });
        }
        Ok(rows)
    }

    fn note(&self, name: &str, chunks: usize) -> Option<String> {
        let tokens = self.tokenizer.max_length - 2;
        (chunks > 1).then(|| format!("{name} took {chunks} chunks of {tokens} tokens"))
    }

    /// The layers to leave out at the encoder's end, held against the model: only it knows how many it has.
    fn skip(&self, job: &Job) -> Result<usize> {
        let (skip, most) = (job.clip_skip as usize, self.text_encoder.max_skip());
        if skip <= most {
            return Ok(skip);
        }
        let reason = format!("{skip} is more than the text encoder's {most} layers");
        Err(Error::Invalid { field: "clip-skip", reason })
    }

    /// (1, chunks * tokens, width).
    fn encode(&self, rows: &[Vec<u32>], skip: usize) -> Result<Tensor> {
        let hidden = self.text_encoder.forward(rows, skip)?.hidden; // (chunks, tokens, width)
        Ok(clip::join_chunks(&hidden)?)
    }
}
