//! Takes messages of clients apart: an array into its elements, an object into its members, each of them as it was written. What they
//! carry is not read, so that no number is rounded and no order lost on its way to a component.

use serde::de::IgnoredAny;
use serde_json::Deserializer;

/// The elements of an array that is the whole text.
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let mut rest = text.trim_start().strip_prefix('[')?.trim_start();
    let mut elements = Vec::new();
    if let Some(after) = rest.strip_prefix(']') {
        return after.trim().is_empty().then_some(elements);
    }
    loop {
        let (element, after) = value(rest)?;
        elements.push(element);
        match after.split_at_checked(1)? {
            (",", more) => rest = more.trim_start(),
            ("]", more) => return more.trim().is_empty().then_some(elements),
            _ => return None,
        }
    }
}

/// The members of an object that is the whole text; of a name that stands twice, both.
pub(super) fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let mut rest = text.trim_start().strip_prefix('{')?.trim_start();
    let mut members = Vec::new();
    if let Some(after) = rest.strip_prefix('}') {
        return after.trim().is_empty().then_some(members);
    }
    loop {
        let (name, after) = value(rest)?;
        let (member, after) = value(after.strip_prefix(':')?.trim_start())?;
        members.push((string(name)?, member));
        match after.split_at_checked(1)? {
            (",", more) => rest = more.trim_start(),
            ("}", more) => return more.trim().is_empty().then_some(members),
            _ => return None,
        }
    }
}

/// A text as JSON writes it.
pub(super) fn string(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// How JSON writes a text.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The value at the beginning of a text, and what stands behind it.
fn value(text: &str) -> Option<(&str, &str)> {
    let mut values = Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (value, rest) = text.split_at_checked(values.byte_offset())?;
    Some((value, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_carries_stays_as_it_was_written() {
        let text = r#" [ "a,]\"" , 12345678901234567890.0e1 ,[1, {"b" :2}],{"z":1,"a":null} ] "#;
        let expected = [r#""a,]\"""#, "12345678901234567890.0e1", r#"[1, {"b" :2}]"#, r#"{"z":1,"a":null}"#];
        assert_eq!(elements(text).unwrap(), expected);
        assert_eq!(elements("[]").unwrap(), Vec::<&str>::new());
        let found = members(r#"{ "event" : "a" , "data":[ 1 ],"data":2}"#).unwrap();
        let pairs: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(pairs, [("event", "\"a\""), ("data", "[ 1 ]"), ("data", "2")]);
        assert_eq!(members("{}").unwrap(), []);
    }

    #[test]
    fn what_is_no_message_is_none() {
        let deep = format!("[{}", "[".repeat(100_000));
        for text in
            ["", "[", "[1", "[1,]", "[,1]", "[1]]", "[1 2]", "[nul]", "{}", "\u{7}", "[\"\u{1}\"]", &deep]
        {
            assert_eq!(elements(text), None, "{}", &text[..text.len().min(20)]);
        }
        for text in ["[]", "{", "{\"a\"}", "{\"a\":}", "{1:2}", "{\"a\":1,}", "{\"a\":1}x"] {
            assert_eq!(members(text), None, "{text}");
        }
    }
}
