//! A style plugin that does as the prompt says.

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
            text => Ok(Prompt { text: format!("{text}, in ink"), ..prompt }),
        }
    }
}

export!(Styler);
