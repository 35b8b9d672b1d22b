//! The manifest as text: tables whose values know their place. A table is read key by key; each reader takes the type it
//! wants, prefers an overriding variable, and notes a problem instead of stopping, so that one look finds them all.
//! `finish` reports the keys that nobody asked for. (Serde's own errors stop at the first problem and forget where it
//! stood.) Knows no meaning of any key; `check.rs` does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem, did_you_mean};

/// Names of the variables that override begin so.
pub(super) const PREFIX: &str = "ATELIER__";

const NOT_TOML: &str = "not valid TOML";

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) at: At,
}

/// A place and the full key.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) place: Place,
    pub(super) key: String,
}

/// The whole manifest while it is read.
pub(super) struct Document<'a> {
    /// Where lines end: every key asks for its line, and a manifest of many routes has thousands.
    line_ends: Vec<usize>,
    root: DeTable<'a>,
    variables: &'a BTreeMap<String, String>,
    known_variables: RefCell<BTreeSet<String>>,
    problems: RefCell<Vec<Problem>>,
    broken: bool,
}

impl<'a> Document<'a> {
    /// Text that is no TOML gives an empty document and its syntax errors.
    pub(super) fn parse(text: &'a str, variables: &'a BTreeMap<String, String>) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Self {
            line_ends: text.match_indices('\n').map(|(offset, _)| offset).collect(),
            root: root.into_inner(),
            variables,
            known_variables: RefCell::default(),
            problems: RefCell::default(),
            broken: !errors.is_empty(),
        };
        for error in errors {
            let line = document.line(error.span().map_or(0, |span| span.start));
            let at = At { place: Place::Line(line), key: String::new() };
            document.problem(&at, format!("{NOT_TOML}: {}", error.message()));
        }
        document
    }

    pub(super) fn root(&'a self) -> Table<'a> {
        Table::new(self, String::new(), Some(&self.root), At { place: Place::Line(1), key: String::new() })
    }

    pub(super) fn problem(&self, at: &At, text: impl Into<String>) {
        let problem = Problem { place: at.place.clone(), key: at.key.clone(), text: text.into() };
        self.problems.borrow_mut().push(problem);
    }

    /// Everything found so far; reports the variables that override nothing. Where the text is no TOML, nothing else
    /// that was found means much.
    pub(super) fn finish(&self) -> Vec<Problem> {
        if self.broken {
            self.problems.borrow_mut().retain(|problem| problem.text.starts_with(NOT_TOML));
        }
        let known = self.known_variables.borrow();
        let bare = |name: &'a str| name.strip_prefix(PREFIX).unwrap_or(name);
        for name in self.variables.keys().filter(|name| !known.contains(*name)) {
            let hint = match did_you_mean(bare(name), known.iter().map(|name| &name[PREFIX.len()..])) {
                Some(meant) => format!("did you mean `{PREFIX}{meant}`?"),
                None => {
                    "only keys of [server], [log], [telemetry], [engine] and [store] can be overridden".into()
                }
            };
            let at = At { place: Place::Variable(name.clone()), key: String::new() };
            self.problem(&at, format!("overrides nothing; {hint}"));
        }
        self.problems.take()
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.line_ends.partition_point(|end| *end < offset)
    }
}

/// A table, or nothing where a table may stand: then every key is absent, unless a variable gives it.
pub(super) struct Table<'a> {
    document: &'a Document<'a>,
    path: String,
    entries: Option<&'a DeTable<'a>>,
    at: At,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    fn new(document: &'a Document<'a>, path: String, entries: Option<&'a DeTable<'a>>, at: At) -> Self {
        Self { document, path, entries, at, asked: RefCell::default() }
    }

    /// Where the table begins.
    pub(super) fn at(&self) -> &At {
        &self.at
    }

    /// Whether a key stands in it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// Whether it stands in the manifest.
    pub(super) fn is_given(&self) -> bool {
        self.entries.is_some()
    }

    /// Calls the table by its name from now on, as in `route.images`.
    pub(super) fn rename(&mut self, path: String) {
        self.path = path;
        self.at.key.clone_from(&self.path);
    }

    pub(super) fn problem(&self, at: &At, text: impl Into<String>) {
        self.document.problem(at, text);
    }

    /// Notes that a key must be there, unless it is there and was found wrong.
    pub(super) fn missing(&self, key: &str, fix: &str) {
        if !self.entries.is_some_and(|entries| entries.contains_key(key)) {
            self.problem(&self.at, format!("`{key}` is missing; {fix}"));
        }
    }

    pub(super) fn text(&self, key: &'static str) -> Option<Found<String>> {
        self.read(key, "a text", |text| Some(text.to_owned()), |value| value.as_str().map(str::to_owned))
    }

    /// A text that `T` can be made of; `what` says what is wanted.
    pub(super) fn parsed<T: FromStr>(&self, key: &'static str, what: &str) -> Option<Found<T>> {
        let parse = |text: &str| text.parse().ok();
        self.read(key, what, parse, |value| value.as_str().and_then(parse))
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        let found = self.read(key, "true or false", |text| text.parse().ok(), DeValue::as_bool);
        found.map(|found| found.value)
    }

    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        let within = |number: u64| range.contains(&number).then_some(number);
        let parse = |text: &str| text.parse().ok().and_then(within);
        let from = |value: &DeValue<'_>| {
            let integer = value.as_integer()?;
            u64::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(within)
        };
        self.read(key, &what, parse, from).map(|found| found.value)
    }

    /// A number from 0 to 1.
    pub(super) fn fraction(&self, key: &'static str) -> Option<f64> {
        let parse = |text: &str| text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
        let from = |value: &DeValue<'_>| match value {
            DeValue::Integer(_) | DeValue::Float(_) => parse(&scalar(value)?),
            _ => None,
        };
        self.read(key, "a number from 0 to 1", parse, from).map(|found| found.value)
    }

    /// A number of bytes, or a text such as `64 MiB`.
    pub(super) fn bytes(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let what = format!("bytes from {} to {}, such as 1048576 or \"1 MiB\"", range.start(), range.end());
        let parse = |text: &str| with_unit(text).filter(|bytes| range.contains(bytes));
        let from = |value: &DeValue<'_>| parse(&scalar(value)?);
        self.read(key, &what, parse, from).map(|found| found.value)
    }

    /// A list of texts; empty when absent.
    pub(super) fn texts(&self, key: &'static str) -> Vec<Found<String>> {
        let Some((value, at)) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.problem(&at, format!("wants a list of texts, not {}", kind(value.get_ref())));
            return Vec::new();
        };
        let element = |value: &Spanned<DeValue<'_>>| {
            let at = At { place: self.place(value.span().start), key: at.key.clone() };
            let text = value.get_ref().as_str().map(|text| Found { value: text.to_owned(), at: at.clone() });
            text.or_else(|| {
                self.problem(&at, format!("wants texts, not {}", kind(value.get_ref())));
                None
            })
        };
        array.iter().filter_map(element).collect()
    }

    /// A table of texts, in the order of its keys; whole numbers and booleans are taken as their text.
    pub(super) fn text_table(&self, key: &'static str) -> Vec<(String, String)> {
        let table = self.table(key);
        let Some(entries) = table.entries else { return Vec::new() };
        let entry = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let name: &std::borrow::Cow<'_, str> = name.get_ref();
            let text = scalar(value.get_ref());
            if text.is_none() {
                let at = At { place: self.place(value.span().start), key: format!("{}.{name}", table.path) };
                self.problem(
                    &at,
                    format!("wants a text, a number or a boolean, not {}", kind(value.get_ref())),
                );
            }
            Some((name.to_string(), text?))
        };
        entries.iter().filter_map(entry).collect()
    }

    /// A table; one without entries when absent.
    pub(super) fn table(&self, key: &'static str) -> Table<'a> {
        let path = self.join(key);
        let absent = |at| Table::new(self.document, path.clone(), None, at);
        let Some((value, at)) = self.get(key) else {
            return absent(At { place: self.at.place.clone(), key: path.clone() });
        };
        match value.get_ref().as_table() {
            Some(entries) => Table::new(self.document, path, Some(entries), at),
            None => {
                self.problem(&at, format!("wants a table, not {}", kind(value.get_ref())));
                absent(at)
            }
        }
    }

    /// A list of tables, as `[[key]]` or `key = [{ … }]` makes one.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let Some((value, at)) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.problem(&at, format!("is a list of tables; write {}", list_of(self, key)));
            return Vec::new();
        };
        let element = |(index, value): (usize, &'a Spanned<DeValue<'a>>)| {
            let path = self.join(&format!("{key}[{index}]"));
            let at = At { place: self.place(value.span().start), key: path.clone() };
            let entries = value.get_ref().as_table();
            if entries.is_none() {
                self.problem(&at, format!("is not a table; write {}", list_of(self, key)));
            }
            Some(Table::new(self.document, path, Some(entries?), at))
        };
        array.iter().enumerate().filter_map(element).collect()
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for (name, _) in self.entries.into_iter().flatten() {
            let known = name.get_ref().as_ref();
            if asked.contains(&known) {
                continue;
            }
            let hint = match did_you_mean(known, asked.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known: {}", asked.join(", ")),
            };
            let at = At { place: self.place(name.span().start), key: self.join(known) };
            self.problem(&at, format!("unknown key; {hint}"));
        }
    }

    /// The value of `key` as the variable or the manifest gives it; a problem when it is not `what` is wanted.
    fn read<T>(
        &self,
        key: &'static str,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
        from: impl Fn(&DeValue<'a>) -> Option<T>,
    ) -> Option<Found<T>> {
        let value = self.get(key);
        if let Some((text, at)) = self.variable(key) {
            let parsed = parse(text);
            if parsed.is_none() {
                self.problem(&at, format!("wants {what}, not `{text}`"));
            }
            return Some(Found { value: parsed?, at });
        }
        let (value, at) = value?;
        let found = from(value.get_ref());
        if found.is_none() {
            self.problem(&at, format!("wants {what}, not {}", kind(value.get_ref())));
        }
        Some(Found { value: found?, at })
    }

    fn get(&self, key: &'static str) -> Option<(&'a Spanned<DeValue<'a>>, At)> {
        if !self.asked.borrow().contains(&key) {
            self.asked.borrow_mut().push(key);
        }
        let (name, value) = self.entries?.iter().find(|(name, _)| name.get_ref() == key)?;
        Some((value, At { place: self.place(name.span().start), key: self.join(key) }))
    }

    /// Only the keys of the sections can be overridden: a list element has no name that a variable could use.
    fn variable(&self, key: &'static str) -> Option<(&'a str, At)> {
        if !matches!(self.path.as_str(), "server" | "log" | "telemetry" | "engine" | "store") {
            return None;
        }
        let name = format!("{PREFIX}{}__{}", self.path, key.replace('-', "_")).to_uppercase();
        self.document.known_variables.borrow_mut().insert(name.clone());
        let text = self.document.variables.get(&name)?;
        Some((text, At { place: Place::Variable(name), key: self.join(key) }))
    }

    fn place(&self, offset: usize) -> Place {
        Place::Line(self.document.line(offset))
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// How a list of tables is written: at the top by headings, elsewhere between brackets.
fn list_of(table: &Table<'_>, key: &str) -> String {
    if table.path.is_empty() { format!("[[{key}]]") } else { format!("{key} = [{{ … }}]") }
}

/// What a value is, in words; short values are shown.
fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.len() <= 60 => format!("`{text}`"),
        DeValue::String(_) => "a long text".into(),
        DeValue::Integer(number) => format!("`{number}`"),
        DeValue::Float(number) => format!("`{number}`"),
        DeValue::Boolean(value) => format!("`{value}`"),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// `1048576`, `1024 KiB`, `1 MiB`, `2 GiB`.
fn with_unit(text: &str) -> Option<u64> {
    let units = [(" KiB", 10), (" MiB", 20), (" GiB", 30)];
    let unit = units.into_iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
    let (number, bits) = unit.unwrap_or((text, 0));
    number.trim().parse::<u64>().ok()?.checked_mul(1 << bits)
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}
