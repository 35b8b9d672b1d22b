//! Finding words and phrases in a prompt, and adding to its end.
//!
//! Lists of the other modules are written as `Words` makes a prompt: lower case, hyphens and apostrophes kept.

/// A prompt made ready for searching: lower case, punctuation gone, one space around every word.
/// Spaces at both ends too, so that a search for ` word ` finds whole words wherever they stand.
pub(crate) struct Words(String);

impl Words {
    /// Reads a prompt.
    pub(crate) fn of(prompt: &str) -> Self {
        let lower = prompt.to_lowercase();
        // hyphens and apostrophes hold a word together: `8-bit`, `bird's-eye`
        let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '\'';
        let parts: Vec<_> = lower.split(|c| !is_part(c)).filter(|part| !part.is_empty()).collect();
        Self(format!(" {} ", parts.join(" ")))
    }

    /// Whether the phrase is there, in singular or in plural: `cats`, `boxes`, `daisies`.
    pub(crate) fn have(&self, phrase: &str) -> bool {
        let whole = |form: String| self.0.contains(&format!(" {form} "));
        whole(phrase.to_owned())
            || whole(format!("{phrase}s"))
            || whole(format!("{phrase}es"))
            || phrase.strip_suffix('y').is_some_and(|stem| whole(format!("{stem}ies")))
    }

    /// Whether any of the phrases is there.
    pub(crate) fn have_any(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.have(phrase))
    }
}

/// The prompt with additions behind it, as many as fit into `max_chars`; itself when there are none.
pub(crate) fn extended(prompt: &str, additions: &[String], max_chars: usize) -> String {
    // the user's own full stop would end the prompt before the additions
    let mut text = prompt.trim_end().trim_end_matches(['.', ',', ';', ' ']).to_owned();
    let mut grown = false;
    for addition in additions {
        // the 2 are the comma and the space; a shorter addition further on may still fit
        if text.chars().count() + 2 + addition.chars().count() <= max_chars {
            text.push_str(", ");
            text.push_str(addition);
            grown = true;
        }
    }
    if grown { text } else { prompt.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_whole_in_any_case_and_in_plural() {
        let words = Words::of("Two RED cats, in the evening-sky!");
        assert!(words.have("cat") && words.have("red cat") && words.have("evening-sky"));
        let words_of_plurals = Words::of("boxes with daisies");
        assert!(words_of_plurals.have("box") && words_of_plurals.have("daisy"));
        assert!(!words.have("evening") && !words.have("at") && !words.have("ed"));
    }

    #[test]
    fn additions_stay_within_the_length() {
        let additions = ["one".to_owned(), "three".to_owned(), "six".to_owned()];
        assert_eq!(extended("a cat.", &additions, 15), "a cat, one, six");
        assert_eq!(extended("a cat.", &[], 99), "a cat.");
        assert_eq!(extended("a cat.", &additions, 6), "a cat.");
    }
}
