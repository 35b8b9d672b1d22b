//! Whether a prompt says what to change, such as "make it night", or what a picture shows, such as "a boat at night".
//! English only, by the first word: descriptions rarely begin with one of these.

/// Verbs that ask for a change.
const VERBS: [&str; 17] = [
    "add", "change", "convert", "delete", "draw", "erase", "give", "let", "make", "paint", "put", "recolor",
    "recolour", "remove", "replace", "swap", "turn",
];

/// Whether the prompt is an instruction.
pub(crate) fn is_one(prompt: &str) -> bool {
    let mut words = prompt.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty());
    let polite = |word: &&str| !word.eq_ignore_ascii_case("please");
    words.find(polite).is_some_and(|first| VERBS.iter().any(|verb| first.eq_ignore_ascii_case(verb)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_told_from_descriptions() {
        for prompt in
            ["make it night", "Please, add mountains.", "REMOVE the boat", "turn it into watercolor"]
        {
            assert!(is_one(prompt), "{prompt}");
        }
        for prompt in ["a made bed", "", "night", "adder in the grass", "the boat, make it red"] {
            assert!(!is_one(prompt), "{prompt}");
        }
    }
}
