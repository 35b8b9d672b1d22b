//! What a field may hold: reading a value leniently, saying what is wanted, and writing the JSON schema.

use serde_json::{Value, json};

/// What a field may hold.
pub trait Rule {
    /// What a value becomes.
    type Value: Clone + Default;
    /// Reads a value, or says what is wrong and what would be right, to follow the field's name.
    fn read(&self, value: &Value) -> Result<Self::Value, String>;
    /// What is wanted, to follow "give".
    fn wanted(&self) -> String;
    /// The JSON schema.
    fn schema(&self) -> Value;
    /// A value as JSON.
    fn written(&self, value: &Self::Value) -> Value;
}

/// Text of a bounded number of characters (not bytes).
pub struct Text {
    /// The fewest characters.
    pub min: usize,
    /// The most characters.
    pub max: usize,
}

impl Rule for Text {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, String> {
        let text = value.as_str().ok_or_else(|| not_a(value, "text", &self.wanted()))?;
        let count = text.chars().count();
        if count < self.min || count > self.max {
            return Err(format!("has {count} characters; give {}", self.wanted()));
        }
        Ok(text.to_owned())
    }

    fn wanted(&self) -> String {
        format!("text of {} to {} characters", self.min, self.max)
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "minLength": self.min, "maxLength": self.max})
    }

    fn written(&self, value: &String) -> Value {
        json!(value)
    }
}

/// True or false.
pub struct Boolean;

impl Rule for Boolean {
    type Value = bool;

    fn read(&self, value: &Value) -> Result<bool, String> {
        let word = match value {
            Value::Bool(value) => return Ok(*value),
            // 1 and 1.0 print alike; any other number is no boolean
            Value::Number(number) => number.as_f64().unwrap_or(f64::NAN).to_string(),
            Value::String(text) => text.to_lowercase(),
            _ => String::new(),
        };
        match word.as_str() {
            "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
            "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
            _ => Err(not_a(value, "a boolean", &self.wanted())),
        }
    }

    fn wanted(&self) -> String {
        "true or false".into()
    }

    fn schema(&self) -> Value {
        json!({"type": "boolean"})
    }

    fn written(&self, value: &bool) -> Value {
        json!(value)
    }
}

/// A whole number in a range, both ends included.
pub struct Integer {
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

impl Rule for Integer {
    type Value = u64;

    fn read(&self, value: &Value) -> Result<u64, String> {
        let number = whole(value).ok_or_else(|| not_a(value, "a whole number", &self.wanted()))?;
        let fits = u64::try_from(number).ok().filter(|number| (self.min..=self.max).contains(number));
        fits.ok_or_else(|| format!("is {number}; give {}", self.wanted()))
    }

    fn wanted(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }

    fn schema(&self) -> Value {
        json!({"type": "integer", "minimum": self.min, "maximum": self.max})
    }

    fn written(&self, value: &u64) -> Value {
        json!(value)
    }
}

/// A number in a range; the lower end may be excluded.
pub struct Number {
    /// The lower end.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Whether the lower end itself is refused.
    pub above_min: bool,
}

impl Rule for Number {
    type Value = f64;

    fn read(&self, value: &Value) -> Result<f64, String> {
        let number = decimal(value).ok_or_else(|| not_a(value, "a number", &self.wanted()))?;
        let above = if self.above_min { number > self.min } else { number >= self.min };
        if above && number <= self.max {
            Ok(number)
        } else {
            Err(format!("is {number}; give {}", self.wanted()))
        }
    }

    fn wanted(&self) -> String {
        let (above, min) = (if self.above_min { "over " } else { "from " }, self.min);
        format!("a number {above}{min} to {}", self.max)
    }

    fn schema(&self) -> Value {
        let lower = if self.above_min { "exclusiveMinimum" } else { "minimum" };
        json!({"type": "number", lower: self.min, "maximum": self.max})
    }

    fn written(&self, value: &f64) -> Value {
        json!(value)
    }
}

/// One of a few words.
pub struct Choice(
    /// The words.
    pub &'static [&'static str],
);

impl Rule for Choice {
    type Value = &'static str;

    fn read(&self, value: &Value) -> Result<&'static str, String> {
        let text = value.as_str().ok_or_else(|| not_a(value, "text", &self.wanted()))?;
        let known = self.0.iter().find(|word| **word == text).copied();
        known.ok_or_else(|| format!("is {}; give {}", shown(value), self.wanted()))
    }

    fn wanted(&self) -> String {
        format!("one of {}", self.0.join(", "))
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "enum": self.0})
    }

    fn written(&self, value: &&'static str) -> Value {
        json!(value)
    }
}

/// A whole number in any form that is taken for one; wide enough that no u64 or i64 is rounded before it is compared.
fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Bool(value) => Some(i128::from(*value)),
        Value::Number(number) if number.is_u64() => number.as_u64().map(i128::from),
        Value::Number(number) if number.is_i64() => number.as_i64().map(i128::from),
        Value::Number(number) => {
            // a float beyond this is whole only because it has no digits left
            number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e18).map(|n| n as i128)
        }
        Value::String(text) => whole_text(text.trim()),
        _ => None,
    }
}

/// Digits with a sign, and with nothing but zeros after a point.
fn whole_text(text: &str) -> Option<i128> {
    let (digits, zeros) = text.split_once('.').unwrap_or((text, ""));
    zeros.bytes().all(|byte| byte == b'0').then(|| digits.parse().ok())?
}

/// A finite number in any form that is taken for one.
fn decimal(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// The end of "`field` …" for a value of the wrong kind.
fn not_a(value: &Value, kind: &str, wanted: &str) -> String {
    format!("is {}, not {kind}; give {wanted}", shown(value))
}

/// A value as it stands in an error text: short, and never a whole body.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "an array".into(),
        Value::String(text) if text.chars().count() > 40 => {
            format!("\"{}…\"", text.chars().take(40).collect::<String>())
        }
        value => value.to_string(),
    }
}
