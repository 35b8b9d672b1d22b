//! Better prompts: from the language model server when one is configured, from the route's style plugins otherwise.
//!
//! A server that fails is an error and not a reason to take the plugins: the two write very different prompts.

use atelier_kit::Host;
use atelier_kit::host::Prompt;

use crate::failure::Failure;
use crate::{language, plan, settings};

/// Enhances a prompt for a model that is already chosen. With it comes what the user should know of it, if anything.
pub(crate) async fn enhance(host: &impl Host, prompt: Prompt) -> Result<(Prompt, Option<String>), Failure> {
    match settings::server(host)? {
        Some(server) => {
            let (text, note) = language::enhance(host, &server, &prompt.text).await?;
            Ok((Prompt { text, ..prompt }, note))
        }
        None => Ok((host.style(prompt).await?, None)),
    }
}

/// Enhances a prompt on its own, for the model that would draw it.
pub(crate) async fn enhance_alone(
    host: &impl Host,
    text: String,
) -> Result<(String, Option<String>), Failure> {
    // style plugins write in words that one model understands, so one is named although nothing is drawn
    let model = plan::likely_model(host, &text).await;
    let prompt = Prompt { text, negative: None, model };
    let (prompt, note) = enhance(host, prompt).await?;
    Ok((prompt.text, note))
}
