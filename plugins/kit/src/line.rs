//! One line out of any text: what a user said or a model wrote, fit to be a prompt, a header's value or a line of a log.

/// The text with a single space wherever it has white space or breaks a line, without control characters, and without those
/// that turn the direction of what follows, which show a reader something else than is there.
pub fn one_line(text: &str) -> String {
    let is_shown = |character: &char| !character.is_control() && !turns(*character);
    let words = text.split_whitespace().map(|word| word.chars().filter(is_shown).collect::<String>());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Embeddings, overrides and isolates of the bidirectional algorithm (Unicode Annex 9); marks of single places stay.
fn turns(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_single_spaces_and_nothing_that_controls() {
        assert_eq!(one_line("  a\tred\r\n\n circle\u{2028}on\u{3000}blue \u{85}"), "a red circle on blue");
        assert_eq!(one_line("a\u{0}b\u{1b}[31m \u{7f} c\u{9b}d"), "ab[31m cd");
        assert_eq!(one_line("\u{202e}elcric\u{202c} \u{2066}x\u{2069}"), "elcric x");
        assert_eq!(one_line("مرحبا، 猫 👩\u{200d}🎨 e\u{301}"), "مرحبا، 猫 👩\u{200d}🎨 e\u{301}");
        assert_eq!(one_line(" \u{0} \n"), "");
    }
}
