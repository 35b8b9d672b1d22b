//! The stage: which words a model understands, and what is missing of them.
//!
//! Pure: the same prompt and model always give the same text, so a job can be repeated from its answer.

use crate::text::{Words, extended};
use crate::{general, nano};

/// The most characters of a result, as for a user's own prompt.
const MAX_CHARS: usize = 4096;

/// A prompt of so many words says enough; more would push its own words out of the encoder's window.
const ENOUGH_WORDS: usize = 60;

/// Adds to a prompt what it leaves unsaid, in words that the model understands.
pub fn style(prompt: &str, model: Option<&str>) -> String {
    let words = Words::of(prompt);
    // by name, because a styler is told no more of a model; all others understand general words
    let is_called = |name| model.is_some_and(|id| id.contains(name));
    let is_nano = is_called("atelier-nano");
    // an instruction says all that is to change, and every further word would change more
    if is_called("atelier-nano-edit") {
        return prompt.to_owned();
    }
    // an empty prompt may be meant, and nothing is known of what it should show
    if prompt.trim().is_empty() || prompt.split_whitespace().count() > ENOUGH_WORDS {
        return prompt.to_owned();
    }
    // `extended` leaves out what does not fit whole: half a phrase would be noise
    let additions = if is_nano { nano::missing(prompt, &words) } else { general::missing(prompt, &words) };
    extended(prompt, &additions, MAX_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPTS: [&str; 14] = [
        "a cat",
        "A red house.",
        "a blue boat on the sea at sunset",
        "pixel art of a star",
        "A sunset over a mountain range with vivid colours",
        "a yellow circle on a green square",
        "a purple fish, watercolor, at night",
        "A cat sitting on a windowsill",
        "a photo of a dog playing in a park",
        "an oil painting of a ship in a storm, dramatic lighting, wide shot, deep blue tones",
        "moon and stars",
        "kissa",
        "猫",
        "!!!",
    ];

    #[test]
    fn styling_twice_adds_nothing() {
        for model in [Some("atelier-nano"), Some("sd15"), None] {
            for prompt in PROMPTS {
                let once = style(prompt, model);
                assert_eq!(style(&once, model), once, "{model:?}: {prompt}");
            }
        }
    }

    #[test]
    fn what_the_user_wrote_comes_first_and_unchanged() {
        for prompt in PROMPTS {
            let kept = prompt.trim_end_matches('.');
            assert!(style(prompt, Some("atelier-nano")).starts_with(kept), "{prompt}");
            assert!(style(prompt, None).starts_with(kept), "{prompt}");
        }
    }

    #[test]
    fn a_prompt_at_the_limit_grows_no_further() {
        let long = "a".repeat(MAX_CHARS);
        assert_eq!(style(&long, None), long);
        for cut in 0..80 {
            assert!(style(&long[cut..], None).chars().count() <= MAX_CHARS);
        }
    }

    #[test]
    fn a_prompt_of_many_words_says_enough() {
        let detailed = "word ".repeat(61);
        assert_eq!(style(&detailed, Some("atelier-nano")), detailed);
    }

    #[test]
    fn an_instruction_stays_as_it_is() {
        for prompt in PROMPTS.into_iter().chain(["make it night", "remove the boat"]) {
            assert_eq!(style(prompt, Some("atelier-nano-edit")), prompt);
        }
    }

    #[test]
    fn nothing_stays_nothing() {
        assert_eq!(style("  ", None), "  ");
    }
}
