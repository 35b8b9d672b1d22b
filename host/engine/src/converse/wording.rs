//! From a conversation to the ids that the model reads: the template of its files and its tokenizer. Small beside the weights,
//! and shared by the model and by whoever asks how long a conversation is.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::template::{Refusal, Template, Told};
use crate::files::ModelFiles;
use crate::tokenizer::LanguageTokenizer;
use crate::weights::Metadata;
use crate::{Error, Result};
use atelier_inference::ChatOrder;
use atelier_inference::chat::Turn;

/// Where a GGUF file has its template.
const KEY: &str = "tokenizer.chat_template";
/// Where a folder has it, and where older ones do.
const FILE: &str = "chat_template.jinja";
const CONFIG: &str = "tokenizer_config.json";
/// Letters beyond the first plane, those for private use last: more of them than a conversation has bytes for.
const MARKS: std::ops::RangeInclusive<char> = '\u{10000}'..='\u{10fffd}';

/// Templates for files that have none, each told by a special token that it writes.
const KNOWN: [(&str, &str); 5] = [
    ("<|im_start|>", CHATML),
    ("<|start_header_id|>", LLAMA_3),
    ("<start_of_turn>", GEMMA),
    ("<|assistant|>", PHI_3),
    ("[INST]", MISTRAL),
];
const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}\
                      {{ '<|im_start|>assistant\n' }}";
const LLAMA_3: &str = "{{ bos_token }}{% for m in messages %}\
                       {{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content|trim + '<|eot_id|>' }}{% endfor %}\
                       {{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}";
const GEMMA: &str = "{{ bos_token }}{% set ns = namespace(before='') %}{% for m in messages %}\
                     {% if m.role == 'system' %}{% set ns.before = m.content + '\n\n' %}{% else %}\
                     {{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' + ns.before + m.content|trim + '<end_of_turn>\n' }}\
                     {% set ns.before = '' %}{% endif %}{% endfor %}{{ '<start_of_turn>model\n' }}";
const PHI_3: &str = "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}{{ '<|assistant|>\n' }}";
const MISTRAL: &str = "{{ bos_token }}{% set ns = namespace(before='') %}{% for m in messages %}\
                       {% if m.role == 'system' %}{% set ns.before = m.content + '\n\n' %}{% elif m.role == 'user' %}\
                       {{ '[INST] ' + ns.before + m.content + ' [/INST]' }}{% set ns.before = '' %}{% else %}\
                       {{ ' ' + m.content|trim + eos_token }}{% endif %}{% endfor %}";

/// How conversations are written down for a model.
#[derive(Debug)]
pub struct Wording {
    tokenizer: LanguageTokenizer,
    template: Template,
    /// What errors name.
    place: ModelFiles,
    file: String,
    /// Longest conversation and reply.
    context: usize,
}

impl Wording {
    /// Reads tokenizer and template.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Malformed`] and [`Error::Unsupported`] name the file, and the key where it is one.
    pub(super) fn open(files: &ModelFiles, metadata: Option<&Metadata>, context: usize) -> Result<Self> {
        let tokenizer = LanguageTokenizer::open(files, metadata)?;
        let (file, source) = match metadata {
            Some(metadata) => (metadata.file().to_string(), metadata.text(KEY)?.map(String::from)),
            None => published(files)?,
        };
        let known = || {
            KNOWN.iter().find(|(token, _)| tokenizer.has_special(token)).map(|(_, known)| known.to_string())
        };
        let Some(source) = source.or_else(known) else {
            let reason = "has no chat template, and none is known for its special tokens; it may be a base model, which \
                          does not reply: take one that is tuned for instructions";
            return Err(files.malformed(&file, reason));
        };
        let template = Template::new(&source).map_err(|reason| files.malformed(&file, reason))?;
        Ok(Self { tokenizer, template, place: files.clone(), file, context })
    }

    /// The ids of an order's conversation, up to where the reply begins.
    ///
    /// # Errors
    /// [`Error::Invalid`] of `turns` for a conversation that is too long, or that the template refuses; [`Error::Malformed`]
    /// for a template that fails.
    pub fn prompt(&self, order: &ChatOrder) -> Result<Vec<u32>> {
        let mark = mark(&order.turns);
        let guarded = |turn: &Turn| Turn { role: turn.role, text: self.tokenizer.guarded(&turn.text, mark) };
        let turns: Vec<Turn> = order.turns.iter().map(guarded).collect();
        let text = self.render(&turns, order.options.schema.is_none())?;
        let ids = self.tokenizer.ids(&text, Some(mark))?;
        if ids.is_empty() || ids.len() >= self.context {
            let reason = format!(
                "{} tokens; this model holds 1 to {} beside a reply; shorten the conversation",
                ids.len(),
                self.context - 1
            );
            return Err(Error::Invalid { field: "turns", reason });
        }
        Ok(ids)
    }

    /// The conversation as text.
    ///
    /// # Errors
    /// As [`Wording::prompt`].
    pub fn render(&self, turns: &[Turn], may_think: bool) -> Result<String> {
        let told = Told { begin: self.tokenizer.begin_text(), end: self.tokenizer.end_text(), may_think };
        self.template.render(turns, &told).map_err(|refusal| match refusal {
            Refusal::Conversation(reason) => Error::Invalid { field: "turns", reason },
            Refusal::Template(reason) => {
                self.place.malformed(&self.file, format!("its chat template fails: {reason}"))
            }
        })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &LanguageTokenizer {
        &self.tokenizer
    }

    /// Longest conversation and reply.
    pub fn context(&self) -> usize {
        self.context
    }
}

/// A letter that is in no text.
fn mark(turns: &[Turn]) -> char {
    let letters = turns.iter().flat_map(|turn| turn.text.chars());
    let used: BTreeSet<char> = letters.filter(|letter| MARKS.contains(letter)).collect();
    MARKS.rev().find(|mark| !used.contains(mark)).unwrap_or(*MARKS.end())
}

/// Several templates by name, or one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Many(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

#[derive(Deserialize)]
struct Config {
    chat_template: Option<Templates>,
}

/// A folder's template, and the file that errors should name.
fn published(files: &ModelFiles) -> Result<(String, Option<String>)> {
    if files.contains(FILE) {
        return Ok((FILE.into(), Some(files.text(FILE)?)));
    }
    if !files.contains(CONFIG) {
        return Ok((CONFIG.into(), None));
    }
    let template = match files.json::<Config>(CONFIG)?.chat_template {
        Some(Templates::One(template)) => Some(template),
        Some(Templates::Many(several)) => {
            several.into_iter().find(|named| named.name == "default").map(|named| named.template)
        }
        None => None,
    };
    Ok((CONFIG.into(), template))
}

#[cfg(test)]
mod tests {
    use super::*;
    use atelier_inference::chat::Role;

    #[test]
    fn templates_for_files_without_one_write_every_turn() {
        let turn = |role, text: &str| Turn { role, text: text.into() };
        let turns = [
            turn(Role::System, "S"),
            turn(Role::User, "A"),
            turn(Role::Assistant, "B"),
            turn(Role::User, "C"),
        ];
        let told = Told { begin: "<s>", end: "</s>", may_think: true };
        for (token, source) in KNOWN {
            let text = Template::new(source).unwrap().render(&turns, &told).unwrap();
            assert!(text.contains(token), "{token}");
            let places: Vec<_> = ["S", "A", "B", "C"].iter().map(|said| text.find(said)).collect();
            assert!(places.iter().all(Option::is_some), "{token}: {text}");
        }
    }

    #[test]
    fn the_mark_is_in_no_text() {
        let turn = |text: String| Turn { role: Role::User, text };
        assert_eq!(mark(&[turn("plain".into())]), '\u{10fffd}');
        let most: String = ('\u{f0000}'..='\u{10fffd}').collect();
        assert!(!most.contains(mark(&[turn(most.clone())])));
    }
}
