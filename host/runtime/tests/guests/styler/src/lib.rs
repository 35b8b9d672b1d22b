//! A style plugin that does as the prompt says: `blank`, `text` or `negative` and how many bytes of it, or what it is to do
//! wrong. Everything else it draws in ink.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/styler" });

use exports::atelier::host::style::{Error, Guest, Prompt};

struct Styler;

impl Guest for Styler {
    async fn style(prompt: Prompt) -> Result<Prompt, Error> {
        match prompt.text.as_str() {
            "trap" => std::process::abort(),
            "spin" => loop {
                std::hint::black_box(0);
            },
            "grow" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(vec![1_u8; 1 << 20]);
                    std::hint::black_box(&kept);
                }
            }
            "refuse" => Err(Error::Refused("no style for this".into())),
            "blank" => Ok(Prompt { text: " \n".into(), ..prompt }),
            text if bytes(text, "text ").is_some() => {
                Ok(Prompt { text: bytes(text, "text ").unwrap_or_default(), ..prompt })
            }
            text if bytes(text, "negative ").is_some() => {
                Ok(Prompt { negative: bytes(text, "negative "), ..prompt })
            }
            text => Ok(Prompt { text: format!("{text}, in ink"), ..prompt }),
        }
    }
}

/// So many bytes as the number after the word says.
fn bytes(text: &str, word: &str) -> Option<String> {
    Some("x".repeat(text.strip_prefix(word)?.parse().ok()?))
}

export!(Styler);
