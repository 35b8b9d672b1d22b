//! Texts of the manifest that take parts from the process's variables: `${NAME}` and `${NAME:-otherwise}`, as shells and compose
//! files write them. Read here, filled in when the host starts; only some keys are such texts, and they say so.

use serde::{Serialize, Serializer};

use super::provider::is_variable;
use super::shown::without_credentials;

/// Such a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Reads one; the text says what is wrong with it, and repeats no part of it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match walk(text, |_, _| Ok(String::new())) {
            Err(Lack::Wrong(what)) => Err(what),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// As it stands in the manifest.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The text with its variables; one that is empty is as one that is not set.
    ///
    /// # Errors
    /// A variable that is not set and has nothing in its place.
    pub fn filled(&self, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let fill = |name: &str, otherwise: Option<&str>| {
            let value = variable(name).filter(|value| !value.is_empty());
            value.or_else(|| otherwise.map(str::to_owned)).ok_or_else(|| Lack::Unset(name.to_owned()))
        };
        walk(&self.0, fill).map_err(|lack| match lack {
            Lack::Unset(name) => format!("the variable {name} is not set"),
            Lack::Wrong(what) => what.to_owned(),
        })
    }
}

enum Lack {
    Unset(String),
    Wrong(&'static str),
}

fn walk(text: &str, fill: impl Fn(&str, Option<&str>) -> Result<String, Lack>) -> Result<String, Lack> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("${") {
        filled.push_str(&rest[..start]);
        let place = &rest[start + 2..];
        let end = place.find('}').ok_or(Lack::Wrong("has a `${` without its `}`"))?;
        let (name, otherwise) = match place[..end].split_once(":-") {
            Some((name, otherwise)) => (name, Some(otherwise)),
            None => (&place[..end], None),
        };
        if !is_variable(name) {
            return Err(Lack::Wrong("wants variables as `${NAME}` or `${NAME:-otherwise}`"));
        }
        filled.push_str(&fill(name, otherwise)?);
        rest = &place[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// As in the manifest, but for credentials in an address.
impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&without_credentials(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_take_their_places_or_what_stands_for_them() {
        let template = Template::parse("redis://${HOST:-127.0.0.1}:${PORT:-6379}/${DB}").unwrap();
        let variable = |name: &str| match name {
            "HOST" => Some("cache".to_owned()),
            "PORT" => Some(String::new()),
            _ => None,
        };
        assert_eq!(template.filled(variable), Err("the variable DB is not set".into()));
        let variable = |name: &str| variable(name).or_else(|| Some("${HOST}".to_owned()));
        assert_eq!(template.filled(variable), Ok("redis://cache:6379/${HOST}".into()), "filled in once");
        for bad in ["${", "${}", "${1A}", "${A B}", "x${A:-"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert!(Template::parse("$A and {id}").is_ok());
    }
}
