//! llama.cpp's names for the tensors of a T5 encoder, in GGUF files, as those of transformers.

/// Of a block's tensors.
const BLOCK: [(&str, &str); 10] = [
    ("attn_norm", "layer.0.layer_norm"),
    ("attn_q", "layer.0.SelfAttention.q"),
    ("attn_k", "layer.0.SelfAttention.k"),
    ("attn_v", "layer.0.SelfAttention.v"),
    ("attn_o", "layer.0.SelfAttention.o"),
    ("attn_rel_b", "layer.0.SelfAttention.relative_attention_bias"),
    ("ffn_norm", "layer.1.layer_norm"),
    ("ffn_gate", "layer.1.DenseReluDense.wi_0"),
    ("ffn_up", "layer.1.DenseReluDense.wi_1"),
    ("ffn_down", "layer.1.DenseReluDense.wo"),
];

/// The name in transformers; `None` for one that stays as it is.
pub(super) fn to_transformers(name: &str) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("shared.weight".into()),
        "enc.output_norm.weight" => return Some("encoder.final_layer_norm.weight".into()),
        _ => {}
    }
    let (block, tensor) = name.strip_prefix("enc.blk.")?.split_once('.')?;
    let tensor = tensor.strip_suffix(".weight")?;
    let (_, own) = BLOCK.iter().find(|(theirs, _)| *theirs == tensor)?;
    Some(format!("encoder.block.{block}.{own}.weight"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_llama_cpp_become_those_of_transformers_and_others_stay() {
        let known = [
            ("token_embd.weight", "shared.weight"),
            ("enc.blk.23.ffn_up.weight", "encoder.block.23.layer.1.DenseReluDense.wi_1.weight"),
            (
                "enc.blk.0.attn_rel_b.weight",
                "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            ),
        ];
        for (theirs, ours) in known {
            assert_eq!(to_transformers(theirs).as_deref(), Some(ours));
        }
        for other in ["shared.weight", "enc.blk.0.attn_x.weight", "dec.blk.0.attn_q.weight", "enc.blk.0"] {
            assert_eq!(to_transformers(other), None);
        }
    }
}
