//! Words for models of photographs and art at large: medium, light, composition and palette. What is added suits the
//! medium that the prompt names, so that a photograph gets no brush strokes.
//!
//! Adds at most one phrase per aspect. A list of `known_by` is wide on purpose: an aspect that the prompt may speak
//! of is better left alone than contradicted.

use crate::lot::draw;
use crate::text::Words;

/// One aspect of a picture: the words that show it is spoken of, and what can be said of it.
struct Aspect {
    /// Tells the draws of one prompt apart; never shown.
    name: &'static str,
    /// Words that show the aspect is spoken of; the phrases below are recognised by them too.
    known_by: &'static [&'static str],
    /// What can be said in a photograph.
    photo: &'static [&'static str],
    /// What can be said of anything that is painted, drawn or rendered.
    art: &'static [&'static str],
}

/// Words by which a prompt asks for a photograph.
const PHOTO: &[&str] = &[
    "photo",
    "photograph",
    "photography",
    "photorealistic",
    "35mm",
    "dslr",
    "film still",
    "macro",
    "realistic",
];

/// Words by which a prompt names any other medium or style.
const MEDIA: &[&str] = &[
    "painting",
    "oil",
    "watercolor",
    "watercolour",
    "gouache",
    "drawing",
    "illustration",
    "sketch",
    "render",
    "rendering",
    "pixel art",
    "line art",
    "vector",
    "anime",
    "manga",
    "cartoon",
    "comic",
    "sculpture",
    "engraving",
    "concept art",
    "poster",
    "logo",
    "icon",
    "collage",
    "mosaic",
    "pastel",
    "charcoal",
    "style",
    "3d",
    "digital art",
];

/// What a prompt without any medium becomes.
const DEFAULT_MEDIA: &[&str] = &["detailed digital illustration", "digital painting", "photograph, 35mm"];

/// In the order in which they are added, after the medium.
const ASPECTS: [Aspect; 3] = [
    Aspect {
        name: "light",
        known_by: &[
            "light",
            "lighting",
            "lit",
            "sunlit",
            "backlit",
            "sunlight",
            "moonlight",
            "candlelight",
            "glow",
            "glowing",
            "golden hour",
            "golden-hour",
            "shadow",
            "neon",
            "sunset",
            "sunrise",
            "dusk",
            "dawn",
            "night",
            "noon",
            "overcast",
            "chiaroscuro",
            "twilight",
            "foggy",
            "misty",
        ],
        photo: &["soft natural light", "golden hour light", "soft window light", "overcast daylight"],
        art: &["soft diffused light", "warm golden light", "dramatic rim lighting", "gentle morning light"],
    },
    Aspect {
        name: "composition",
        known_by: &[
            "close-up",
            "closeup",
            "close up",
            "wide shot",
            "wide angle",
            "wide-angle",
            "portrait",
            "panorama",
            "panoramic",
            "centered",
            "centred",
            "composition",
            "rule of thirds",
            "from above",
            "from below",
            "bird's-eye",
            "low angle",
            "depth of field",
            "bokeh",
            "foreground",
            "framed",
            "symmetrical",
            "full body",
        ],
        photo: &["shallow depth of field", "wide-angle composition", "rule of thirds composition"],
        art: &["balanced composition", "centred composition", "layered foreground and background"],
    },
    Aspect {
        name: "palette",
        known_by: &[
            "palette",
            "colour",
            "color",
            "colours",
            "colors",
            "coloured",
            "colored",
            "colourful",
            "colorful",
            "tones",
            "tone",
            "hue",
            "monochrome",
            "black and white",
            "black-and-white",
            "sepia",
            "pastel",
            "vivid",
            "muted",
            "vibrant",
            "saturated",
            "grayscale",
            "greyscale",
            "red",
            "orange",
            "yellow",
            "green",
            "blue",
            "purple",
            "pink",
            "brown",
            "gold",
            "golden",
            "teal",
            "crimson",
            "amber",
        ],
        photo: &["natural colour palette", "warm earthy tones", "cool muted tones"],
        art: &[
            "harmonious colour palette",
            "rich warm palette",
            "soft pastel palette",
            "teal and amber palette",
        ],
    },
];

/// What the prompt leaves unsaid.
/// The medium first, then light, composition and palette, as captions of such models have them.
pub(crate) fn missing(prompt: &str, words: &Words) -> Vec<String> {
    // looked at together: a prompt that names either has its medium, and gets no second one
    let (is_photo, is_art) = (words.have_any(PHOTO), words.have_any(MEDIA));
    let medium = if is_photo || is_art { None } else { draw(prompt, "medium", DEFAULT_MEDIA) };
    // a medium that was just added counts like one that the user named
    let suits_photo = is_photo || medium.is_some_and(|medium| medium.starts_with("photo"));
    let absent = ASPECTS.iter().filter(|aspect| !words.have_any(aspect.known_by));
    let drawn = absent.filter_map(|aspect| {
        // `an illustration of a photograph` names both and is drawn as art
        draw(prompt, aspect.name, if suits_photo && !is_art { aspect.photo } else { aspect.art })
    });
    medium.into_iter().chain(drawn).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(prompt: &str) -> Vec<String> {
        missing(prompt, &Words::of(prompt))
    }

    #[test]
    fn a_bare_subject_gets_every_aspect() {
        assert_eq!(added("a cat on a windowsill").len(), 4);
    }

    #[test]
    fn a_photograph_gets_only_what_suits_photographs() {
        let parts = added("a photo of a dog");
        assert_eq!(parts.len(), 3);
        assert!(
            parts.iter().zip(&ASPECTS).all(|(part, aspect)| aspect.photo.contains(&part.as_str())),
            "{parts:?}"
        );
    }

    #[test]
    fn what_is_said_is_not_said_again() {
        let said = "an oil painting of a ship, dramatic lighting, wide shot, deep blue tones";
        assert_eq!(added(said), [""; 0]);
        assert_eq!(added("a red apple, charcoal sketch").len(), 2);
    }

    #[test]
    fn every_phrase_that_is_added_is_recognised() {
        for aspect in &ASPECTS {
            for phrase in [aspect.photo, aspect.art].concat() {
                assert!(Words::of(phrase).have_any(aspect.known_by), "{phrase} for {}", aspect.name);
            }
        }
        for medium in DEFAULT_MEDIA {
            assert!(Words::of(medium).have_any(MEDIA) || Words::of(medium).have_any(PHOTO), "{medium}");
        }
    }
}
