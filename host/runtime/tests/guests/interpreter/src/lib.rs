//! An intent plugin that does as the command says: `trap`, `refuse`, `ask` and a text for the first language model, or an
//! intention as `action|target|prompt`.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/language-interpreter" });

use atelier::host::language::{self, Request, Role, Turn};
use exports::atelier::host::intent::{Action, Error, Guest, Intention};

struct Interpreter;

impl Guest for Interpreter {
    async fn interpret(command: String) -> Result<Intention, Error> {
        match command.split_once(' ') {
            Some(("ask", text)) => return ask(text).await,
            _ if command == "trap" => std::process::abort(),
            _ if command == "refuse" => return Err(Error::Refused("not this one".into())),
            _ => {}
        }
        let mut parts = command.splitn(3, '|').map(str::to_owned);
        let action = match parts.next().as_deref() {
            Some("create") => Action::Create,
            Some("edit") => Action::Edit,
            Some("undo") => Action::Undo,
            _ => Action::None,
        };
        let (target, prompt) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Ok(Intention { action, target, prompt })
    }
}

/// What the model replied, with the tokens that it had read before and those that it wrote.
async fn ask(text: &str) -> Result<Intention, Error> {
    let models = language::models().await;
    let model = models.first().ok_or_else(|| Error::Failed("there is no language model".into()))?;
    let turns = vec![
        Turn { role: Role::System, text: "be brief".into() },
        Turn { role: Role::User, text: text.into() },
    ];
    let request = Request {
        model: model.id.clone(),
        turns,
        max_tokens: Some(10),
        temperature: None,
        top_k: None,
        top_p: None,
        min_p: None,
        repeat_penalty: None,
        seed: None,
        stop: Vec::new(),
        schema: None,
    };
    let failed = |error: language::Error| Error::Failed(format!("{error:?}"));
    let reply = language::chat(request).await.map_err(failed)?.outcome().await.map_err(failed)?;
    let prompt = format!("{}|{} {}", reply.text, reply.usage.cached_tokens, reply.usage.reply_tokens);
    Ok(Intention { action: Action::Create, target: String::new(), prompt })
}

export!(Interpreter);
