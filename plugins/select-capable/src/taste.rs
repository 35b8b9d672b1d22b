//! What kind of picture a prompt asks for, and which kinds a model's description claims.
//!
//! Works on words alone, in English; a prompt in another language has no taste, and the other rules decide.

/// Words of one kind of picture. Words of one list are held for the same taste.
/// The hyphen stays part of a word, for `8-bit`.
const TASTES: [&[&str]; 5] = [
    &["pixel", "8-bit", "8bit", "16-bit", "sprite", "retro game"],
    &[
        "illustration",
        "flat",
        "vector",
        "icon",
        "logo",
        "clip art",
        "cartoon",
        "drawing",
        "line art",
        "sketch",
    ],
    &["photo", "photograph", "photorealistic", "realistic", "portrait", "35mm", "dslr", "cinematic"],
    &[
        "fantasy",
        "stylised",
        "stylized",
        "digital art",
        "concept art",
        "artistic",
        "anime",
        "dreamy",
        "surreal",
        "magical",
        "mythical",
        "dragon",
        "fairy",
    ],
    &["painting", "watercolor", "watercolour", "aquarelle", "oil", "impressionist", "canvas"],
];

/// How many kinds of picture both texts speak of.
/// A kind counts once, however many of its words are there: length is no merit of a description.
pub(crate) fn shared(prompt: &str, description: &str) -> usize {
    let (prompt, description) = (words(prompt), words(description));
    TASTES.iter().filter(|taste| speaks_of(&prompt, taste) && speaks_of(&description, taste)).count()
}

/// Whether any word of a list is there whole, in singular or with an s. `text` comes from `words`.
fn speaks_of(text: &str, taste: &[&str]) -> bool {
    taste.iter().any(|word| text.contains(&format!(" {word} ")) || text.contains(&format!(" {word}s ")))
}

/// The text in lower case, with one space around every word.
fn words(text: &str) -> String {
    let lower = text.to_lowercase();
    let parts: Vec<_> =
        lower.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|part| !part.is_empty()).collect();
    // with spaces at both ends too, the first and the last word are found like all others
    format!(" {} ", parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taste_is_shared_through_any_of_its_words() {
        assert_eq!(shared("a logo, please!", "Small flat illustrations."), 1);
        assert_eq!(shared("pixel art of a cat", "illustrations and pixel art"), 1);
        assert_eq!(shared("a photograph of a cat", "illustrations"), 0);
    }

    #[test]
    fn fantasy_and_photographs_are_told_apart() {
        let models =
            ["Dreamshaper 8: fantasy, art and stylised pictures", "Realistic Vision 5.1: photographs"];
        let told = |prompt| models.map(|description| shared(prompt, description));
        for prompt in ["an artistic city", "a fantasy castle", "a stylized fox", "a dragon over the sea"] {
            assert_eq!(told(prompt), [1, 0], "{prompt}");
        }
        for prompt in ["a photorealistic cat", "a cinematic street", "a portrait of an old man"] {
            assert_eq!(told(prompt), [0, 1], "{prompt}");
        }
        assert_eq!(told("a red boat"), [0, 0]);
        assert_eq!(told("a photograph of a painting of a party"), [0, 1]);
    }

    #[test]
    fn parts_of_words_do_not_count() {
        assert_eq!(shared("a boiled egg, flattened", "flat and oil"), 0);
    }
}
