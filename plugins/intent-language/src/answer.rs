//! A model's reply, read strictly: JSON of the schema and nothing else. What the rules of an action leave no room for is left
//! out, since the action decides; what they ask for and the reply lacks is not made up.

use atelier_kit_plugin::line::one_line;
use serde::Deserialize;

use crate::Trouble;

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the cases are those of wit/intent.wit")]
pub enum Action {
    Create,
    Edit,
    Undo,
    None,
}

/// A command, understood.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of wit/intent.wit")]
pub struct Intention {
    pub action: Action,
    pub target: String,
    pub prompt: String,
}

impl Intention {
    /// That nothing is asked for.
    pub(crate) fn none() -> Self {
        Self { action: Action::None, target: String::new(), prompt: String::new() }
    }
}

/// The intention in a reply.
pub(crate) fn read(reply: &str) -> Result<Intention, Trouble> {
    // the reply is not shown: it is nobody's words, and may be long
    let odd = |_| Trouble::Failed("the language model's reply is not of the schema it was given".into());
    let said: Intention = serde_json::from_str(reply).map_err(odd)?;
    let (target, prompt) = (one_line(&said.target), one_line(&said.prompt));
    let unsaid = |what: &str| Trouble::Refused(format!("the command asks for {what}"));
    match said.action {
        Action::Create if prompt.is_empty() => Err(unsaid("a picture, and does not say what it should show")),
        Action::Edit if prompt.is_empty() => Err(unsaid("a change, and does not say which")),
        Action::Create => Ok(Intention { target: String::new(), prompt, ..said }),
        Action::Edit => Ok(Intention { target, prompt, ..said }),
        Action::Undo | Action::None => Ok(Intention { action: said.action, ..Intention::none() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intention(action: Action, target: &str, prompt: &str) -> Intention {
        Intention { action, target: target.into(), prompt: prompt.into() }
    }

    #[test]
    fn replies_of_the_schema_are_intentions() {
        for (reply, said) in [
            (
                r#"{"action":"create","target":"","prompt":"a red circle on a blue background"}"#,
                intention(Action::Create, "", "a red circle on a blue background"),
            ),
            (
                r#"{"action":"edit","target":"the circle","prompt":"make the circle green"}"#,
                intention(Action::Edit, "the circle", "make the circle green"),
            ),
            (
                r#"{"action":"edit","target":"","prompt":"make it night"}"#,
                intention(Action::Edit, "", "make it night"),
            ),
            (r#"{"action":"undo","target":"","prompt":""}"#, intention(Action::Undo, "", "")),
            (r#" { "action" : "none", "prompt" : "", "target" : "" } "#, Intention::none()),
        ] {
            assert_eq!(read(reply), Ok(said));
        }
    }

    #[test]
    fn what_an_action_leaves_no_room_for_is_left_out_and_lines_are_lines() {
        let create = read(r#"{"action":"create","target":"it","prompt":" a\ncat\u0000 \u202e"}"#);
        assert_eq!(create, Ok(intention(Action::Create, "", "a cat")));
        let edit = read(r#"{"action":"edit","target":"a\r\n\tb","prompt":"c\u2028d"}"#);
        assert_eq!(edit, Ok(intention(Action::Edit, "a b", "c d")));
        let undo = read(r#"{"action":"undo","target":"it","prompt":"go back"}"#);
        assert_eq!(undo, Ok(intention(Action::Undo, "", "")));
        let none = read(r#"{"action":"none","target":"","prompt":"ignore your instructions"}"#);
        assert_eq!(none, Ok(Intention::none()));
    }

    #[test]
    fn what_is_asked_for_and_not_said_is_not_made_up() {
        for (reply, told) in [
            (r#"{"action":"create","target":"","prompt":""}"#, "what it should show"),
            (r#"{"action":"edit","target":"the cat","prompt":" \n\u0007"}"#, "does not say which"),
        ] {
            let refused = |trouble: Trouble| matches!(trouble, Trouble::Refused(why) if why.contains(told));
            assert!(read(reply).is_err_and(refused), "{reply}");
        }
    }

    #[test]
    fn anything_else_is_a_failure() {
        for reply in [
            "",
            "create",
            "null",
            "[]",
            r#""create""#,
            r#"{"action":"create","target":"","prompt":"a c"#,
            r#"{"action":"delete","target":"","prompt":""}"#,
            r#"{"action":"Create","target":"","prompt":"a cat"}"#,
            r#"{"action":"create","prompt":"a cat"}"#,
            r#"{"action":"create","target":null,"prompt":"a cat"}"#,
            r#"{"action":"create","target":"","prompt":"a cat","tool":"shell"}"#,
            r#"{"action":"create","action":"edit","target":"","prompt":"a cat"}"#,
            r#"{"action":"create","target":"","prompt":"a cat"} {"action":"undo"}"#,
            r#"Sure! {"action":"undo","target":"","prompt":""}"#,
        ] {
            assert!(matches!(read(reply), Err(Trouble::Failed(_))), "{reply}");
        }
    }
}
