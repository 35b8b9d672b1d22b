//! A conversation as the model was trained to read it: the template of its files, rendered as transformers renders it
//! (`apply_chat_template`), within bounds. A template is a program that strangers wrote: it has fuel for its work, which also
//! bounds what it takes in memory, it reads nothing but the conversation and the date, and it writes nothing but text.

use std::collections::BTreeMap;
use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error as Fault, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;

use atelier_inference::chat::{Role, Turn};

/// Longest template; those of tool-calling models have about 20 KiB.
const MAX_SOURCE_BYTES: usize = 256 << 10;
/// Of one rendering: instructions, and 64 bytes each of what they make. Enough for the longest conversation a few times over.
const FUEL: u64 = 2_000_000;
const NAME: &str = "chat";

/// A template that was read.
pub(super) struct Template {
    environment: Environment<'static>,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}

/// Why a conversation could not be rendered.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// The template wants another conversation, and says so.
    Conversation(String),
    /// The template is wrong, or does too much.
    Template(String),
}

/// What `raise_exception` was called with.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// What a template is told beside the conversation.
pub(super) struct Told<'a> {
    /// Texts of the tokens that begin and end a conversation.
    pub(super) begin: &'a str,
    pub(super) end: &'a str,
    /// Whether the model may think aloud first, where its template leaves it the choice.
    pub(super) may_think: bool,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, with its line.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(format!("a template of {} bytes; at most {MAX_SOURCE_BYTES}", source.len()));
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|fault| text(&fault))?);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", raise);
        environment.add_function("strftime_now", today);
        let source = without_marks_of_training(source);
        environment.add_template_owned(NAME, source).map_err(|fault| text(&fault))?;
        Ok(Self { environment })
    }

    /// The conversation as text, up to where the reply begins.
    pub(super) fn render(&self, turns: &[Turn], told: &Told<'_>) -> Result<String, Refusal> {
        let messages: Vec<Value> = turns
            .iter()
            .map(|turn| context! { role => role(turn.role), content => turn.text.as_str() })
            .collect();
        let mut given = BTreeMap::from([
            ("messages", Value::from(messages)),
            ("add_generation_prompt", true.into()),
            ("bos_token", told.begin.into()),
            ("eos_token", told.end.into()),
            // transformers passes these two whether there are any or not
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ]);
        if !told.may_think {
            given.insert("enable_thinking", false.into());
        }
        let template = self.environment.get_template(NAME).map_err(refusal)?;
        template.render(Value::from(given)).map_err(refusal)
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

fn raise(message: String) -> Result<Value, Fault> {
    Err(Fault::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

/// The time here and now, by C's format.
fn today(format: String) -> Result<String, Fault> {
    use chrono::format::{Item, StrftimeItems};
    let items: Vec<Item<'_>> = StrftimeItems::new(&format).collect();
    if items.iter().any(|item| matches!(item, Item::Error)) {
        return Err(Fault::new(ErrorKind::InvalidOperation, format!("`{format}` is no format of a date")));
    }
    Ok(chrono::Local::now().format_with_items(items.iter()).to_string())
}

/// Some templates mark what the assistant wrote for training; for reading it says nothing.
fn without_marks_of_training(source: &str) -> String {
    let mut out = source.to_string();
    for (open, close) in [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")] {
        for word in ["generation", "endgeneration"] {
            // an empty comment takes the same white space around it
            let comment = format!("{}{}", open.replace('%', "#"), close.replace('%', "#"));
            out = out.replace(&format!("{open} {word} {close}"), &comment);
        }
    }
    out
}

fn refusal(fault: Fault) -> Refusal {
    let mut source = std::error::Error::source(&fault);
    while let Some(error) = source {
        if let Some(Raised(message)) = error.downcast_ref() {
            return Refusal::Conversation(message.clone());
        }
        source = error.source();
    }
    Refusal::Template(text(&fault))
}

fn text(fault: &Fault) -> String {
    let line = fault.line().map_or(String::new(), |line| format!(", line {line} of the template"));
    let detail = fault.detail().map_or(String::new(), |detail| format!(": {detail}"));
    format!("{}{detail}{line}", fault.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Told<'static> = Told { begin: "<s>", end: "</s>", may_think: true };

    fn render(source: &str, text: &str) -> Result<String, Refusal> {
        let turns = [Turn { role: Role::User, text: text.into() }];
        Template::new(source).map_err(Refusal::Template)?.render(&turns, &TOLD)
    }

    #[test]
    fn what_templates_use_of_python_is_there() {
        let source = "{{ bos_token }}{% for m in messages %}{{ m['role'].upper() + m.content.strip().split('-')[-1] }}{% endfor %}";
        assert_eq!(render(source, " a-b ").unwrap(), "<s>USERb");
        assert_eq!(render("{% if tools %}x{% endif %}{{ messages|length }}\n", "").unwrap(), "1");
        assert_eq!(render("a\n    {% generation %}\nb{%- endgeneration %}", "").unwrap(), "a\nb");
        let year = render("{{ strftime_now('%Y') }}", "").unwrap();
        assert!(year.parse::<u32>().is_ok_and(|year| year > 2_000), "{year}");
        // what people write is text, whatever it looks like
        assert_eq!(render("{{ messages[0].content }}", "{{ 1 + 1 }} <b>").unwrap(), "{{ 1 + 1 }} <b>");
    }

    #[test]
    fn a_template_may_refuse_a_conversation_but_is_itself_at_fault_for_all_else() {
        let refused = render("{{ raise_exception('roles must alternate') }}", "");
        assert_eq!(refused, Err(Refusal::Conversation("roles must alternate".into())));
        for (source, wrong) in [
            ("{% if %}", "syntax error"),
            ("{{ messages[0].content.no_such_method() }}", "unknown method"),
            ("{{ strftime_now('%Q') }}", "no format of a date"),
            ("{% include 'x' %}", "template"),
        ] {
            let Err(Refusal::Template(reason)) = render(source, "") else { panic!("{source}") };
            assert!(reason.contains(wrong), "{source}: {reason}");
        }
    }

    #[test]
    fn a_template_that_works_for_ever_or_grows_without_end_runs_out_of_fuel() {
        for source in [
            "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
            "{% set ns = namespace(x='abcdefgh') %}{% for a in range(90) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "{{ 'x' * 9999999999 }}",
            "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        ] {
            assert!(matches!(render(source, ""), Err(Refusal::Template(_))), "{source}");
        }
        assert!(Template::new(&" ".repeat(MAX_SOURCE_BYTES + 1)).is_err());
    }
}
