//! One token more of several texts at once: the weights are read once for all of them, and each text attends to its own past
//! alone. To a text nothing tells that others are beside it: what comes out is what comes out alone, to the bit, since the
//! kernels sum a row of their input in one order whatever is beside it. Where tensor operations do the work (GPUs, processors
//! without the kernels) nobody promises that, and texts are not joined.

use candle_core::{Result as TensorResult, Tensor};

use super::{LlamaNetwork, Text};
use crate::kernels::{are_packed, attend_each};

impl LlamaNetwork {
    /// Whether texts may be extended together and are then what they are alone.
    pub fn can_join(&self) -> bool {
        are_packed(&self.device)
    }

    /// Adds one token to each text and gives how likely each token is to follow it, before it is made a probability: (texts,
    /// vocabulary).
    ///
    /// # Errors
    /// As [`LlamaNetwork::extend`]; other texts than tokens. The texts are then as they were.
    pub fn extend_each(&self, texts: &mut [&mut Text], tokens: &[u32]) -> TensorResult<Tensor> {
        if texts.is_empty() || texts.len() != tokens.len() {
            candle_core::bail!("{} tokens for {} texts", tokens.len(), texts.len());
        }
        if let Some(text) = texts.iter().find(|text| text.length >= text.capacity) {
            candle_core::bail!("one token after {} in a text of {}", text.length, text.capacity);
        }
        let logits = self.states_of_each(texts, tokens).and_then(|states| self.logits(&states)?.squeeze(0));
        for text in texts {
            text.length += usize::from(logits.is_ok());
            // layers that came before an error have kept the token
            text.layers.iter_mut().for_each(|past| past.truncate(text.length));
        }
        logits
    }

    /// The states of the new tokens: (1, texts, width).
    fn states_of_each(&self, texts: &mut [&mut Text], tokens: &[u32]) -> TensorResult<Tensor> {
        let rotations = self.rotations(texts.iter().map(|text| (text.length, text.is_long)))?;
        let mut hidden = self.embedded(tokens)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let pasts = texts.iter_mut().filter_map(|text| text.layers.get_mut(index));
            hidden =
                layer.forward(&hidden, &rotations, |q, k, v, heads| attend_each(pasts, q, k, v, heads))?;
        }
        self.norm.forward(&hidden)
    }
}
