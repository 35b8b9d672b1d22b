//! Whether a value is what a shape says: for replies that somebody else wrote. Our own models cannot write another one.

use serde_json::Value;

use super::{Property, Shape};

impl Shape {
    /// Holds a value to the shape.
    ///
    /// # Errors
    /// The place of what does not fit, as in `#/target`, and what is wanted there.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        self.check_at(value, "#")
    }

    fn check_at(&self, value: &Value, place: &str) -> Result<(), String> {
        let wants = |what: &str| Err(format!("{place} is no {what}"));
        match (self, value) {
            (Self::Object(properties), Value::Object(members)) => {
                let known = |name: &String| properties.iter().any(|property| property.name == *name);
                if let Some(stranger) = members.keys().find(|name| !known(name)) {
                    return Err(format!("{place} has a property `{stranger}` that the schema does not have"));
                }
                properties
                    .iter()
                    .try_for_each(|property| property.check_in(members.get(&property.name), place))
            }
            (Self::Array { items, least, most }, Value::Array(values)) => {
                let count = values.len();
                if count < *least as usize || most.is_some_and(|most| count > most as usize) {
                    return Err(format!("{place} has {count} items"));
                }
                let check = |(index, value)| items.check_at(value, &format!("{place}/{index}"));
                values.iter().enumerate().try_for_each(check)
            }
            (Self::Choice(choices), value) if choices.iter().any(|choice| is_same(choice, value)) => Ok(()),
            (Self::String { most }, Value::String(text)) => match most {
                Some(most) if text.chars().count() > *most as usize => wants("text of that length"),
                _ => Ok(()),
            },
            (Self::Integer, Value::Number(number)) if is_whole(number) => Ok(()),
            (Self::Number, Value::Number(_))
            | (Self::Boolean, Value::Bool(_))
            | (Self::Null, Value::Null) => Ok(()),
            (shape, _) => wants(shape.word()),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Object(_) => "object",
            Self::Array { .. } => "array",
            Self::Choice(_) => "value of its enum",
            Self::String { .. } => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Null => "null",
        }
    }
}

impl Property {
    fn check_in(&self, value: Option<&Value>, place: &str) -> Result<(), String> {
        match value {
            Some(value) => self.shape.check_at(value, &format!("{place}/{}", self.name)),
            None if self.required => Err(format!("{place} lacks `{}`", self.name)),
            None => Ok(()),
        }
    }
}

/// JSON knows one number where Rust has several.
fn is_same(choice: &Value, value: &Value) -> bool {
    choice == value || choice.as_f64().is_some_and(|number| value.as_f64() == Some(number))
}

fn is_whole(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::Schema;

    #[test]
    fn a_value_fits_or_the_place_is_named() {
        let schema = Schema::parse(
            r#"{"type":"object","properties":{"action":{"enum":["create",1,null]},"list":{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":2},
               "text":{"type":"string","maxLength":3}},"required":["action"],"additionalProperties":false}"#,
        );
        let schema = schema.unwrap();
        let check = |text: &str| schema.shape().check(&serde_json::from_str(text).unwrap());
        for fits in [
            r#"{"action":"create"}"#,
            r#"{"text":"äöü","action":1.0,"list":[1,2.0]}"#,
            r#"{"action":null,"list":[-1]}"#,
        ] {
            assert_eq!(check(fits), Ok(()), "{fits}");
        }
        for (text, named) in [
            ("[]", "# is no object"),
            ("{}", "lacks `action`"),
            (r#"{"action":"edit"}"#, "#/action"),
            (r#"{"action":1,"more":2}"#, "`more`"),
            (r#"{"action":1,"list":[]}"#, "0 items"),
            (r#"{"action":1,"list":[1,2,3]}"#, "3 items"),
            (r#"{"action":1,"list":[1.5]}"#, "#/list/0 is no integer"),
            (r#"{"action":1,"text":"four"}"#, "#/text"),
        ] {
            let told = check(text).unwrap_err();
            assert!(told.contains(named), "{text}: {told}");
        }
    }
}
