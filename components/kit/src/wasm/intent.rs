//! [`Interpret`] on the bindings.

use super::Granted;
use crate::bindings::atelier::host::intent;
use crate::host::StageError;
use crate::intent::{Action, Intention, Interpret};

impl Interpret for Granted {
    async fn interpret(&self, command: String) -> Result<Intention, StageError> {
        let found = intent::interpret(command).await.map_err(intent_error)?;
        let action = match found.action {
            intent::Action::Create => Action::Create,
            intent::Action::Edit => Action::Edit,
            intent::Action::Undo => Action::Undo,
            intent::Action::None => Action::None,
        };
        Ok(Intention { action, target: found.target, prompt: found.prompt })
    }
}

fn intent_error(error: intent::Error) -> StageError {
    match error {
        intent::Error::Refused(text) => StageError::Refused(text),
        intent::Error::NotConfigured(text) => StageError::NotConfigured(text),
        intent::Error::Failed(text) => StageError::Failed(text),
    }
}
