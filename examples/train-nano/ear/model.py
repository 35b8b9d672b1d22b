"""The network: Whisper's, small, with a window of ten seconds, and what it learns beside."""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import WhisperConfig, WhisperForConditionalGeneration

from ear.features import BANDS
from ear.tokenizer import POSITIONS

WIDTH, HEADS, LISTENING, WRITING, TEXT = 128, 2, 4, 2, 128
FRAMES = 2 * POSITIONS
# what texts are spelt with; the first class is "nothing new"
LETTERS = " abcdefghijklmnopqrstuvwxyzäöå'"


def new_whisper(words):
    """With random weights."""
    return WhisperForConditionalGeneration(WhisperConfig(
        vocab_size=len(words), num_mel_bins=BANDS, d_model=WIDTH, encoder_layers=LISTENING, decoder_layers=WRITING,
        encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=4 * WIDTH, decoder_ffn_dim=4 * WIDTH,
        max_source_positions=POSITIONS, max_target_positions=TEXT, pad_token_id=words.end, bos_token_id=words.end,
        eos_token_id=words.end, decoder_start_token_id=words.start, suppress_tokens=None, begin_suppress_tokens=None))


class Learner(nn.Module):
    """Whisper, and a layer that spells what each state of its encoder hears (arXiv 1609.06773), which is left away later."""

    def __init__(self, words):
        super().__init__()
        self.whisper, self.spelling = new_whisper(words), nn.Linear(WIDTH, 1 + len(LETTERS))

    def hear(self, mel):
        """The encoder, also on windows that are shorter than the whole one."""
        encoder = self.whisper.model.encoder
        states = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).transpose(1, 2)
        states = states + encoder.embed_positions.weight[:states.shape[1]]
        for layer in encoder.layers:
            states = layer(states, None)
        return encoder.layer_norm(states)

    def write(self, states, tokens, past=None):
        """How likely each token is to follow, and the past that the next call may be given."""
        out = self.whisper.model.decoder(tokens, encoder_hidden_states=states, past_key_values=past, use_cache=past is not None)
        return self.whisper.proj_out(out.last_hidden_state), out.past_key_values


def spelt(text):
    """A text's letters as classes of the spelling."""
    return [1 + LETTERS.index(letter) for letter in text if letter in LETTERS]


def spelling_loss(logits, lengths, spellings):
    """Connectionist temporal classification: any alignment of letters to states is right."""
    logs = F.log_softmax(logits.float(), -1).transpose(0, 1)
    letters = torch.cat([torch.tensor(s, dtype=torch.long) for s in spellings])
    counts = torch.tensor([len(s) for s in spellings])
    return F.ctc_loss(logs, letters, lengths, counts, zero_infinity=True)
