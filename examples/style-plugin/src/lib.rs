//! A style plugin in one file: every picture becomes a page of a storybook.

wit_bindgen::generate!({ world: "styler", path: "../../wit", generate_all });

use exports::atelier::host::style::{Error, Guest, Prompt};

struct Storybook;

impl Guest for Storybook {
    async fn style(prompt: Prompt) -> Result<Prompt, Error> {
        if prompt.text.contains("watercolor") {
            return Ok(prompt);
        }
        Ok(Prompt { text: format!("{}, in watercolor", prompt.text), ..prompt })
    }
}

export!(Storybook);
