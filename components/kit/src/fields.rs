//! One table of request fields, from which a handler gets its parser, its error texts and its OpenAPI schema.
//!
//! Values are taken as pydantic's lax mode takes them (a whole number may be `2`, `2.0`, `"2"` or `true`; a boolean
//! `true`, `1`, `"yes"`, `"off"`, …), unknown fields are refused by name, and every fault of a request is reported at once.

use serde_json::{Map, Value, json};

mod rules;

pub use rules::{Boolean, Choice, Integer, Number, Rule, Text};

/// The deepest nesting of a body. The fields are flat; more is an attack on the parser's stack.
const MAX_DEPTH: usize = 16;

/// One field: its name, what it is for, and what it may hold.
pub struct Field<R: Rule> {
    name: &'static str,
    about: &'static str,
    rule: R,
    presence: Presence<R::Value>,
}

/// What happens when a field is left out.
enum Presence<V> {
    Required,
    Default(V),
    Optional,
}

impl<R: Rule> Field<R> {
    /// A field that must be there.
    pub const fn required(name: &'static str, rule: R, about: &'static str) -> Self {
        Self { name, about, rule, presence: Presence::Required }
    }

    /// A field that takes a value of its own when it is left out.
    pub const fn with_default(name: &'static str, rule: R, default: R::Value, about: &'static str) -> Self {
        Self { name, about, rule, presence: Presence::Default(default) }
    }

    /// A field that may be left out or null.
    pub const fn optional(name: &'static str, rule: R, about: &'static str) -> Self {
        Self { name, about, rule, presence: Presence::Optional }
    }

    /// The field's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// A field in a table, whatever it holds.
pub trait Described: Sync {
    /// The field's name.
    fn key(&self) -> &'static str;
    /// Whether it must be there.
    fn is_required(&self) -> bool;
    /// Its JSON schema with description and default.
    fn schema(&self) -> Value;
}

impl<R: Rule + Sync> Described for Field<R>
where
    R::Value: Sync,
{
    fn key(&self) -> &'static str {
        self.name
    }

    fn is_required(&self) -> bool {
        matches!(self.presence, Presence::Required)
    }

    fn schema(&self) -> Value {
        let mut schema = self.rule.schema();
        schema["description"] = json!(self.about);
        if let Presence::Default(value) = &self.presence {
            schema["default"] = self.rule.written(value);
        }
        schema
    }
}

/// The fields of one request body.
pub type Table = &'static [&'static dyn Described];

/// The JSON schema of a table: an object that takes nothing else.
pub fn schema(table: Table) -> Value {
    let properties: Map<_, _> = table.iter().map(|field| (field.key().to_owned(), field.schema())).collect();
    let required: Vec<_> =
        table.iter().filter(|field| field.is_required()).map(|field| field.key()).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// What ends the name of a field that a form may hold several times, as most clients write it.
pub const SEVERAL: &str = "[]";

/// A body on its way to a typed request. Faults are collected; `finish` and `check` report them.
pub struct Reader {
    object: Map<String, Value>,
    faults: Vec<Fault>,
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Every fault, with its fix.
    pub text: String,
    /// The first field that is at fault, where a single field is.
    pub field: Option<String>,
    /// The same, one by one.
    pub each: Vec<Fault>,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of fault it is.
    pub kind: FaultKind,
    /// The list of the request and the place in it, from 0, whose entry is at fault; none for the request's own fields.
    pub entry: Option<(&'static str, usize)>,
    /// The field, where a single one is at fault.
    pub field: Option<String>,
    /// What is wrong, with its fix.
    pub text: String,
    /// What the field holds, a long text in part; null where it holds nothing.
    pub given: Value,
}

impl Fault {
    /// A value that cannot be used, of a field, or of the body as a whole.
    pub fn invalid(field: Option<&str>, text: impl Into<String>) -> Self {
        let (kind, field) = (FaultKind::Invalid, field.map(str::to_owned));
        Self { kind, entry: None, field, text: text.into(), given: Value::Null }
    }

    /// The same fault in an entry of a list.
    pub fn in_entry(self, list: &'static str, place: usize) -> Self {
        Self { entry: Some((list, place)), ..self }
    }
}

/// What programs tell faults apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A field that must be there is not.
    Missing,
    /// There is no such field.
    Unknown,
    /// What a field holds cannot be used, or not beside the others.
    Invalid,
}

/// The most characters of a value that a fault repeats.
const MAX_GIVEN: usize = 200;

impl Reader {
    /// Parses a body and checks it for fields that the table does not have.
    pub fn new(body: &[u8], table: Table) -> Result<Self, String> {
        let object = parse(body)?;
        let known: Vec<_> = table.iter().map(|field| field.key()).collect();
        let unknown = object.iter().filter(|(key, _)| !known.contains(&key.as_str()));
        let faults = unknown.map(|(key, value)| unknown_field(key, value, &known)).collect();
        Ok(Self { object, faults })
    }

    /// The texts of a form, by their names as sent. A field whose name in the table ends in [`SEVERAL`] may come often, with
    /// or without that end; any other once. `files` are names that the form has beside the table's.
    pub fn of_form(texts: Vec<(String, String)>, table: Table, files: &[&'static str]) -> Self {
        let known = names(table, files);
        let mut reader = Self { object: Map::new(), faults: Vec::new() };
        for (name, text) in texts {
            let several = format!("{}{SEVERAL}", name.trim_end_matches(SEVERAL));
            if known.contains(&several.as_str()) {
                let entry = reader.object.entry(several).or_insert_with(|| Value::Array(Vec::new()));
                entry.as_array_mut().into_iter().for_each(|list| list.push(text.as_str().into()));
            } else if !known.contains(&name.as_str()) {
                reader.faults.push(unknown_field(&name, &text.into(), &known));
            } else if reader.object.insert(name.clone(), text.into()).is_some() {
                reader.fault_of(&name, format!("`{name}` is given twice; give it once"));
            }
        }
        reader
    }

    /// Reports a part of a form that is no text, of the table and the files that the form was read with.
    pub(crate) fn not_text(&mut self, name: &str, table: Table, files: &[&'static str]) {
        let known = names(table, files);
        match known.contains(&name) {
            true => self.fault_of(name, format!("`{name}` is not UTF-8; send text")),
            false => self.faults.push(unknown_field(name, &Value::Null, &known)),
        }
    }

    /// The value of a field that is required or has a default. After a fault it is a placeholder: call `finish`.
    pub fn value<R: Rule>(&mut self, field: &Field<R>) -> R::Value {
        match (self.object.get(field.name), &field.presence) {
            (Some(value), _) => self.take(field.name, field.rule.read(value)).unwrap_or_default(),
            (None, Presence::Default(value)) => value.clone(),
            (None, _) => {
                self.missing(field.name, &field.rule.wanted());
                R::Value::default()
            }
        }
    }

    /// The value of an optional field, if it is there.
    pub fn option<R: Rule>(&mut self, field: &Field<R>) -> Option<R::Value> {
        let value = self.object.get(field.name).filter(|value| !value.is_null())?;
        let read = field.rule.read(value);
        self.take(field.name, read)
    }

    /// Whether the body has the field at all.
    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// Whether the body gives the field something: an optional one that is null counts as left out.
    pub fn gives(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    /// Reports a fault that no single field's rule can see.
    pub fn fault(&mut self, text: impl Into<String>) {
        self.put(FaultKind::Invalid, None, text.into());
    }

    /// Reports a fault of a field.
    pub fn fault_of(&mut self, name: &str, text: impl Into<String>) {
        self.put(FaultKind::Invalid, Some(name), text.into());
    }

    /// Reports that a field must be there; `wanted` follows "give". One of which something is wrong already is there.
    pub fn missing(&mut self, name: &str, wanted: &str) {
        if self.faults.iter().any(|fault| fault.field.as_deref() == Some(name)) {
            return;
        }
        self.put(FaultKind::Missing, Some(name), format!("`{name}` is missing; give {wanted}"));
    }

    fn put(&mut self, kind: FaultKind, name: Option<&str>, text: String) {
        let given = name.and_then(|name| self.object.get(name)).map_or(Value::Null, in_part);
        self.faults.push(Fault { kind, entry: None, field: name.map(shortened), text, given });
    }

    /// The request, unless anything was wrong.
    pub fn finish<T>(self, request: T) -> Result<T, String> {
        self.check(request).map_err(|faults| faults.text)
    }

    /// The request, or what is wrong and where.
    pub fn check<T>(self, request: T) -> Result<T, Faults> {
        match self.faults.is_empty() {
            true => Ok(request),
            false => Err(Faults::from(self.faults)),
        }
    }

    /// A value, or a fault put on the list under the field's name.
    fn take<V>(&mut self, name: &str, read: Result<V, String>) -> Option<V> {
        read.map_err(|fault| self.fault_of(name, format!("`{name}` {fault}"))).ok()
    }
}

impl From<Vec<Fault>> for Faults {
    fn from(each: Vec<Fault>) -> Self {
        let texts: Vec<_> = each.iter().map(|fault| fault.text.as_str()).collect();
        let field = each.iter().find_map(|fault| fault.field.clone());
        Self { text: texts.join("; "), field, each }
    }
}

/// A value that is repeated to whoever sent it: whole, unless it is long.
pub(crate) fn in_part(value: &Value) -> Value {
    match value {
        Value::String(text) if text.chars().count() > MAX_GIVEN => {
            format!("{}…", text.chars().take(MAX_GIVEN).collect::<String>()).into()
        }
        Value::Object(_) | Value::Array(_) => Value::Null,
        value => value.clone(),
    }
}

/// A body as an object. Its depth is measured before it is parsed.
fn parse(body: &[u8]) -> Result<Map<String, Value>, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err("the body is empty; send a JSON object".into());
    }
    if depth(body) > MAX_DEPTH {
        return Err(format!("the body is nested more than {MAX_DEPTH} levels deep; send a flat JSON object"));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("the body is not a JSON object; send one in braces".into()),
        Err(error) => Err(format!("the body is not valid JSON: {error}")),
    }
}

/// The deepest nesting of brackets outside of strings.
/// Counts bytes, not JSON: a body that is broken gets its error from the parser.
fn depth(body: &[u8]) -> usize {
    let (mut now, mut most, mut in_text, mut escaped) = (0usize, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => now += 1,
            b']' | b'}' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

/// What a form may have.
fn names(table: Table, files: &[&'static str]) -> Vec<&'static str> {
    table.iter().map(|field| field.key()).chain(files.iter().copied()).collect()
}

/// The fields that exist are few and all named.
fn unknown_field(key: &str, value: &Value, known: &[&str]) -> Fault {
    let field = shortened(key);
    let text = format!("`{field}` is not a field; the fields are {}", known.join(", "));
    Fault { kind: FaultKind::Unknown, entry: None, field: Some(field), text, given: in_part(value) }
}

/// A name that may be the client's own is shown in part.
fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}

#[cfg(test)]
mod tests;
