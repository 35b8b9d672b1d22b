//! The little world of `atelier-nano`: fifteen things, ten colours, plain backgrounds or places at a time of day, and
//! four styles. Only words that the model was trained on are added.
//!
//! The lists are data about the model's training prompts, not opinions; whoever trains another model writes others.
//! Each list of names begins with the model's own word.

use crate::lot::draw;
use crate::text::Words;

/// A thing: its names, its usual colour, and the settings that suit it.
struct Thing {
    /// The model's own word and others that mean it.
    names: &'static [&'static str],
    /// Added when the prompt names none; the first word of one of `COLOURS`.
    colour: &'static str,
    /// One of the lists below.
    settings: &'static [&'static str],
}

/// Settings by kind of thing; `#` stands for a colour. One that stands twice is drawn twice as often.
const PLAIN: &[&str] = &["on a plain # background"];
const MEADOW: &[&str] =
    &["in a meadow", "in a meadow", "in a meadow at sunset", "in the snow", "in a meadow at night"];
const SEA: &[&str] = &["on the sea", "on the sea", "on the sea at sunset", "on the sea at night"];
const DAY: &[&str] = &["in the sky", "under a blue sky", "at sunset", "on the sea"];
const NIGHT: &[&str] =
    &["in the night sky", "in the night sky", "on the sea at night", "in the snow at night"];

/// Everything that the model can draw; a prompt about anything else gets a style alone.
const THINGS: &[Thing] = &[
    Thing {
        names: &["circle", "ball", "disc", "disk", "dot", "sphere", "orb"],
        colour: "red",
        settings: PLAIN,
    },
    Thing { names: &["square", "box", "block", "cube", "tile"], colour: "blue", settings: PLAIN },
    Thing { names: &["triangle", "pyramid", "wedge"], colour: "green", settings: PLAIN },
    Thing { names: &["star", "starlet"], colour: "yellow", settings: NIGHT },
    Thing { names: &["heart", "valentine"], colour: "red", settings: PLAIN },
    Thing { names: &["tree", "oak", "maple"], colour: "green", settings: MEADOW },
    Thing {
        names: &["house", "cottage", "cabin", "home", "hut", "building"],
        colour: "red",
        settings: MEADOW,
    },
    Thing { names: &["boat", "sailboat", "ship", "yacht", "dinghy"], colour: "red", settings: SEA },
    Thing { names: &["mountain", "peak", "summit", "alp"], colour: "purple", settings: DAY },
    Thing { names: &["sun"], colour: "yellow", settings: DAY },
    Thing { names: &["moon", "crescent"], colour: "yellow", settings: NIGHT },
    Thing { names: &["cloud"], colour: "white", settings: DAY },
    Thing {
        names: &["flower", "blossom", "bloom", "daisy", "tulip", "rose"],
        colour: "pink",
        settings: MEADOW,
    },
    Thing { names: &["fish", "goldfish", "trout", "carp"], colour: "orange", settings: SEA },
    Thing { names: &["cat", "kitten", "kitty", "pussycat", "tomcat"], colour: "orange", settings: MEADOW },
];

/// The world's colours, each with the words that people use for it.
const COLOURS: &[&[&str]] = &[
    &["red", "crimson", "scarlet", "ruby"],
    &["orange", "tangerine", "amber"],
    &["yellow", "golden", "gold", "lemon"],
    &["green", "emerald", "lime", "olive"],
    &["blue", "azure", "navy", "sapphire", "cobalt"],
    &["purple", "violet", "lilac", "plum", "lavender", "mauve"],
    &["pink", "magenta", "rosy"],
    &["brown", "chestnut", "chocolate", "tan"],
    &["black", "ebony"],
    &["white", "ivory"],
];

/// Words that speak of colours without naming one of the world's.
const COLOUR_TALK: &[&str] = &[
    "colour",
    "color",
    "coloured",
    "colored",
    "colourful",
    "colorful",
    "rainbow",
    "grey",
    "gray",
    "monochrome",
];

/// Words by which a prompt speaks of a place or a time of day; any of them keeps a setting from being added.
const SETTINGS: &[&str] = &[
    "background",
    "backdrop",
    "wall",
    "paper",
    "sky",
    "daylight",
    "day",
    "noon",
    "morning",
    "sunset",
    "dusk",
    "evening",
    "sundown",
    "twilight",
    "night",
    "midnight",
    "starry",
    "moonlight",
    "sea",
    "ocean",
    "water",
    "waves",
    "lake",
    "seaside",
    "meadow",
    "grass",
    "field",
    "lawn",
    "garden",
    "hill",
    "hillside",
    "snow",
    "snowy",
    "winter",
    "snowfall",
    "snowflake",
    "dark",
    "outdoors",
    "landscape",
];

/// Words by which a prompt speaks of a style.
const STYLES: &[&str] = &[
    "flat",
    "vector",
    "clip art",
    "outline",
    "line drawing",
    "ink",
    "line art",
    "comic",
    "colouring book",
    "sketch",
    "watercolor",
    "watercolour",
    "aquarelle",
    "brush strokes",
    "pixel",
    "8-bit",
    "8 bit",
    "16-bit",
    "pixelated",
    "retro",
    "video game",
    "drawing",
    "illustration",
    "painting",
    "painted",
];

/// Flat pictures are what the model does best, so they are drawn most often.
const STYLE_WORDS: &[&str] = &[
    "as a flat illustration",
    "in flat style",
    "in flat colours",
    "in watercolor",
    "as a watercolor painting",
    "as line art",
];

/// What the prompt leaves unsaid: colour, setting and style, in the order of the model's training prompts.
pub(crate) fn missing(prompt: &str, words: &Words) -> Vec<String> {
    let things: Vec<_> = THINGS.iter().filter(|thing| words.have_any(thing.names)).collect();
    let colours: Vec<_> =
        COLOURS.iter().filter(|names| words.have_any(names)).map(|names| names[0]).collect();
    // with two things it would be unclear whose colour it is
    let colour = || match things.as_slice() {
        [thing] if colours.is_empty() && !words.have_any(COLOUR_TALK) => {
            Some(format!("coloured {}", thing.colour))
        }
        _ => None,
    };
    // usual colours too: the one that is about to be added must not vanish into its background
    let taken = || colours.iter().copied().chain(things.iter().map(|thing| thing.colour)).collect::<Vec<_>>();
    let setting = || setting(prompt, things.first()?, &taken());
    let style = || draw(prompt, "style", STYLE_WORDS).map(str::to_owned);
    // each part is drawn only where nothing is said of it, which is also why a styled prompt gets none
    let parts = [
        colour(),
        (!words.have_any(SETTINGS)).then(setting).flatten(),
        (!words.have_any(STYLES)).then(style).flatten(),
    ];
    parts.into_iter().flatten().collect()
}

/// A setting that suits the thing; a plain background has a colour that nothing in the picture has. Things that the
/// model does not know get none: what their prompt says of the place would be contradicted.
fn setting(prompt: &str, thing: &Thing, taken: &[&str]) -> Option<String> {
    let setting = draw(prompt, "setting", thing.settings)?;
    // the colours that a background may have, less those in the picture
    let free: Vec<_> =
        ["white", "yellow", "blue", "pink", "green"].into_iter().filter(|it| !taken.contains(it)).collect();
    if !setting.contains('#') {
        return Some(setting.to_owned());
    }
    Some(setting.replace('#', draw(prompt, "background", &free)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(prompt: &str) -> Vec<String> {
        missing(prompt, &Words::of(prompt))
    }

    #[test]
    fn a_bare_thing_gets_colour_setting_and_style() {
        let parts = added("a cat");
        assert_eq!(parts.len(), 3, "{parts:?}");
        assert_eq!(parts[0], "coloured orange");
        assert!(MEADOW.contains(&parts[1].as_str()) && STYLE_WORDS.contains(&parts[2].as_str()));
    }

    #[test]
    fn what_is_said_is_not_said_again() {
        assert_eq!(added("a blue cat on the sea at night as pixel art"), [""; 0]);
        assert_eq!(added("a blue cat in watercolor").len(), 1);
        assert_eq!(added("a cat in the snow").len(), 2);
    }

    #[test]
    fn unknown_things_get_a_style_alone() {
        assert_eq!(added("a dog playing in a park").len(), 1);
        assert_eq!(added("a mountain range at sunset with vivid colours").len(), 1);
    }

    #[test]
    fn a_plain_background_has_a_colour_of_its_own() {
        for colour in ["red", "white", "yellow", "blue", "pink", "green"] {
            let parts = added(&format!("a {colour} heart"));
            assert!(parts[0].contains("background") && !parts[0].contains(colour), "{colour}: {parts:?}");
        }
    }

    #[test]
    fn two_things_get_no_colour_because_it_would_be_unclear_whose() {
        assert!(added("a cat beside a tree").iter().all(|part| !part.starts_with("coloured")));
    }

    #[test]
    fn every_word_that_is_added_is_recognised() {
        for setting in [PLAIN, MEADOW, SEA, DAY, NIGHT].concat() {
            assert!(Words::of(setting).have_any(SETTINGS), "{setting}");
        }
        for style in STYLE_WORDS {
            assert!(Words::of(style).have_any(STYLES), "{style}");
        }
        for thing in THINGS {
            assert!(COLOURS.iter().any(|names| names.contains(&thing.colour)), "{}", thing.names[0]);
        }
    }
}
