//! Choices that look random and are not: drawn by a hash of the prompt and of what is being chosen.
//! A random choice would make the same request with the same seed another picture.

/// One of the options, always the same for the same prompt and purpose; none when there are no options.
pub(crate) fn draw<'a, T: ?Sized>(prompt: &str, purpose: &str, options: &[&'a T]) -> Option<&'a T> {
    let count = u64::try_from(options.len()).ok().filter(|count| *count > 0)?;
    // the purpose is hashed too, so that light and palette are drawn independently; the lowest bits are left out,
    // because in FNV-1a they follow only the lowest bits of the text
    // spaces around the prompt and capitals are spelling, not another wish
    let at = (hash(&[prompt.trim().to_lowercase().as_str(), purpose]) >> 16) % count;
    options.get(usize::try_from(at).ok()?).copied()
}

/// FNV-1a over the parts, each ended by a byte that no UTF-8 text has.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_prompt_draws_the_same_and_others_draw_others() {
        let options = ["a", "b", "c", "d"];
        let drawn = |prompt: &str| draw(prompt, "x", &options);
        assert_eq!(drawn("a cat"), drawn(" A Cat "));
        let all: std::collections::BTreeSet<_> = (0..60).filter_map(|i| drawn(&format!("cat {i}"))).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(draw::<str>("a", "x", &[]), None);
    }
}
