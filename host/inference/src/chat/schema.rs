//! The part of JSON Schema (draft 2020-12) that a reply can be held to while it is written. What is not in it is refused by
//! name, since a keyword that was passed over would be a promise that is not kept.

use serde_json::{Map, Value};

use crate::{Error, Result};

/// Longest schema.
pub const MAX_SCHEMA_BYTES: usize = 16 * 1024;
/// Deepest nesting of objects and arrays.
const MAX_DEPTH: usize = 8;
/// Most properties of all objects, and most schemas of any kind.
const MAX_SHAPES: usize = 256;
/// Most values of an `enum`.
const MAX_CHOICES: usize = 256;
/// Most that `maxLength`, `minItems` and `maxItems` may say.
const MAX_COUNT: u64 = 4_096;
/// Longest reply that a schema may force, in bytes.
const MAX_LEAST_BYTES: usize = 16 * 1024;
/// What says nothing about a value.
const REMARKS: [&str; 7] = ["$schema", "$id", "$comment", "title", "description", "default", "examples"];

/// A schema, with what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    text: String,
    shape: Shape,
}

/// What a value looks like.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// An object of these properties and no others, in this order.
    Object(Vec<Property>),
    /// A list.
    Array {
        /// What each item looks like.
        items: Box<Shape>,
        /// Fewest items.
        least: u32,
        /// Most items; any number when `None`.
        most: Option<u32>,
    },
    /// One of these strings, numbers, booleans and nulls; at least one.
    Choice(Vec<Value>),
    /// Text.
    String {
        /// Most characters (Unicode scalar values); any number when `None`.
        most: Option<u32>,
    },
    /// A number without a fraction.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
}

/// A property of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether it is always there.
    pub required: bool,
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// [`Error::Invalid`] of `schema` names the place and the keyword that is not supported or does not make sense.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_SCHEMA_BYTES {
            return invalid(format!("{} bytes; at most {MAX_SCHEMA_BYTES}", text.len()));
        }
        let value: Value =
            serde_json::from_str(text).or_else(|error| invalid(format!("is no JSON: {error}")))?;
        let shape = Reader { left: MAX_SHAPES }.shape(&value, "#", 0)?;
        if shape.least_bytes() > MAX_LEAST_BYTES {
            return invalid(format!(
                "its shortest value has over {MAX_LEAST_BYTES} bytes; ask for fewer items"
            ));
        }
        Ok(Self { text: text.into(), shape })
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

impl Shape {
    /// Bytes of the shortest value, written without spaces.
    pub fn least_bytes(&self) -> usize {
        // brackets, and a comma between two
        let around =
            |count: usize, inside: usize| inside.saturating_add(count.saturating_sub(1)).saturating_add(2);
        match self {
            Self::Object(properties) => {
                let required: Vec<usize> = properties
                    .iter()
                    .filter(|property| property.required)
                    .map(|Property { name, shape, .. }| shape.least_bytes().saturating_add(quoted(name) + 1))
                    .collect();
                around(required.len(), required.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes)))
            }
            Self::Array { items, least, .. } => {
                let least = *least as usize;
                around(least, least.saturating_mul(items.least_bytes()))
            }
            Self::Choice(values) => {
                values.iter().map(|value| value.to_string().len()).min().unwrap_or_default()
            }
            Self::String { .. } => 2,
            Self::Integer | Self::Number => 1,
            Self::Boolean | Self::Null => 4,
        }
    }
}

fn quoted(name: &str) -> usize {
    Value::from(name).to_string().len()
}

/// Counts the schemas that it may still read.
struct Reader {
    left: usize,
}

impl Reader {
    fn shape(&mut self, schema: &Value, at: &str, depth: usize) -> Result<Shape> {
        if depth > MAX_DEPTH {
            return invalid(format!("{at} is more than {MAX_DEPTH} deep"));
        }
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return invalid(format!("has more than {MAX_SHAPES} properties and items")),
        };
        let Value::Object(schema) = schema else {
            return invalid(format!(
                "{at} is {schema}; a schema is an object such as {{\"type\": \"string\"}}"
            ));
        };
        let kind = kind(schema, at)?;
        if let Some(values) = choices(schema, at)? {
            return choice(schema, kind, values, at);
        }
        let Some(kind) = kind else {
            return invalid(format!("{at} says nothing: give `type`, `enum` or `const`"));
        };
        match kind {
            "object" => self.object(schema, at, depth),
            "array" => self.array(schema, at, depth),
            "string" => {
                known(schema, &["maxLength"], at)?;
                Ok(Shape::String { most: count(schema, "maxLength", at)? })
            }
            _ => known(schema, &[], at).and_then(|()| plain(kind, at)),
        }
    }

    fn object(&mut self, schema: &Map<String, Value>, at: &str, depth: usize) -> Result<Shape> {
        known(schema, &["properties", "required", "additionalProperties"], at)?;
        if !matches!(schema.get("additionalProperties"), None | Some(Value::Bool(false))) {
            return invalid(format!("{at}/additionalProperties: only false is supported"));
        }
        let none = Map::new();
        let properties = match schema.get("properties") {
            None => &none,
            Some(Value::Object(properties)) => properties,
            Some(_) => return invalid(format!("{at}/properties is to be an object of schemas")),
        };
        let required = required(schema, properties, at)?;
        let mut read = Vec::with_capacity(properties.len());
        for (name, value) in properties {
            let shape = self.shape(value, &format!("{at}/properties/{name}"), depth + 1)?;
            read.push(Property { name: name.clone(), shape, required: required.contains(&name.as_str()) });
        }
        Ok(Shape::Object(read))
    }

    fn array(&mut self, schema: &Map<String, Value>, at: &str, depth: usize) -> Result<Shape> {
        known(schema, &["items", "minItems", "maxItems"], at)?;
        let Some(items) = schema.get("items") else {
            return invalid(format!("{at}: an array says what its `items` are"));
        };
        let items = Box::new(self.shape(items, &format!("{at}/items"), depth + 1)?);
        let (least, most) = (count(schema, "minItems", at)?.unwrap_or(0), count(schema, "maxItems", at)?);
        if most.is_some_and(|most| most < least) {
            return invalid(format!("{at}/maxItems is less than minItems"));
        }
        Ok(Shape::Array { items, least, most })
    }
}

/// The schema's type, if it names one.
fn kind<'a>(schema: &'a Map<String, Value>, at: &str) -> Result<Option<&'a str>> {
    match schema.get("type") {
        None => Ok(None),
        Some(Value::String(kind)) => Ok(Some(kind)),
        Some(_) => invalid(format!("{at}/type is to be one name; several are not supported")),
    }
}

fn plain(kind: &str, at: &str) -> Result<Shape> {
    Ok(match kind {
        "integer" => Shape::Integer,
        "number" => Shape::Number,
        "boolean" => Shape::Boolean,
        "null" => Shape::Null,
        _ => return invalid(format!("{at}/type: `{kind}` is no type of JSON Schema")),
    })
}

/// The values of `enum` or `const`.
fn choices(schema: &Map<String, Value>, at: &str) -> Result<Option<Vec<Value>>> {
    let values = match (schema.get("enum"), schema.get("const")) {
        (None, None) => return Ok(None),
        (None, Some(value)) => vec![value.clone()],
        (Some(Value::Array(values)), None) => values.clone(),
        (Some(_), None) => return invalid(format!("{at}/enum is to be a list")),
        (Some(_), Some(_)) => return invalid(format!("{at} has both `enum` and `const`; one is enough")),
    };
    if !(1..=MAX_CHOICES).contains(&values.len()) {
        return invalid(format!("{at}/enum has {} values; 1 to {MAX_CHOICES}", values.len()));
    }
    match values.iter().find(|value| value.is_object() || value.is_array()) {
        Some(value) => invalid(format!("{at}: {value} is no string, number, boolean or null")),
        None => Ok(Some(values)),
    }
}

/// A `type` beside the values is to be theirs.
fn choice(schema: &Map<String, Value>, kind: Option<&str>, values: Vec<Value>, at: &str) -> Result<Shape> {
    known(schema, &["enum", "const"], at)?;
    let fits = |value: &&Value| match kind {
        None => true,
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some(_) => false,
    };
    match values.iter().find(|value| !fits(value)) {
        Some(value) => invalid(format!("{at}: {value} is not of the schema's own `type`")),
        None => Ok(Shape::Choice(values)),
    }
}

fn required<'a>(
    schema: &'a Map<String, Value>,
    properties: &Map<String, Value>,
    at: &str,
) -> Result<Vec<&'a str>> {
    let names = match schema.get("required") {
        None => return Ok(Vec::new()),
        Some(Value::Array(names)) => names,
        Some(_) => return invalid(format!("{at}/required is to be a list of names")),
    };
    let name = |name: &'a Value| match name.as_str() {
        Some(name) if properties.contains_key(name) => Ok(name),
        _ => invalid(format!("{at}/required: {name} is none of the `properties`")),
    };
    names.iter().map(name).collect()
}

fn count(schema: &Map<String, Value>, keyword: &str, at: &str) -> Result<Option<u32>> {
    let Some(value) = schema.get(keyword) else { return Ok(None) };
    match value.as_u64().filter(|count| *count <= MAX_COUNT) {
        Some(count) => Ok(Some(count as u32)),
        None => invalid(format!("{at}/{keyword}: {value} is not a whole number from 0 to {MAX_COUNT}")),
    }
}

/// Refuses what this kind of schema does not know.
fn known(schema: &Map<String, Value>, keywords: &[&str], at: &str) -> Result<()> {
    let is_known = |name: &&String| {
        **name == "type" || keywords.contains(&name.as_str()) || REMARKS.contains(&name.as_str())
    };
    match schema.keys().find(|name| !is_known(name)) {
        Some(name) => invalid(format!("{at}: the keyword `{name}` is not supported here")),
        None => Ok(()),
    }
}

fn invalid<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::invalid("schema", reason))
}
