//! What operators say of a route in its `config`, or in environment variables that the host passes on: texts under keys.
//! What a key means is the handler's.

use crate::Host;

/// A key's text. Set to nothing is not set, as compose files and shells leave variables.
pub fn given(host: &impl Host, key: &str) -> Option<String> {
    host.config(key).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Names and what they stand for, such as `whisper-1=large, base=small`; none where an entry is no such pair.
pub fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let pair = |entry: &str| {
        let (name, meaning) = entry.split_once('=')?;
        let (name, meaning) = (name.trim(), meaning.trim());
        (!name.is_empty() && !meaning.is_empty()).then(|| (name.to_owned(), meaning.to_owned()))
    };
    entries.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn pairs_stand_one_after_another_with_commas() {
        let pair = |name: &str, meaning: &str| (name.to_owned(), meaning.to_owned());
        assert_eq!(pairs(" a = b,c=d=e , "), Some(vec![pair("a", "b"), pair("c", "d=e")]));
        assert_eq!(pairs(""), Some(Vec::new()));
        for wrong in ["a", "a=b, c", "=b", "a="] {
            assert_eq!(pairs(wrong), None, "{wrong}");
        }
    }
}
