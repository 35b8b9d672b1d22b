//! How a backend is asked: forms, and how long it may keep the standing of a task to itself.

/// A form as it is sent.
pub(super) struct Form {
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

/// A form (RFC 7578) of texts and at most one file, both under names of our own.
pub(super) fn form(texts: &[(&str, &str)], file: Option<(&str, &[u8])>) -> Form {
    let parts = texts.iter().map(|(_, text)| text.as_bytes()).chain(file.map(|(_, bytes)| bytes));
    let boundary = boundary(&parts.collect::<Vec<_>>());
    let mut body = Vec::new();
    let mut part = |head: String, content: &[u8]| {
        let head = format!("--{boundary}\r\ncontent-disposition: form-data; {head}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    for (name, text) in texts {
        part(format!("name=\"{name}\""), text.as_bytes());
    }
    if let Some((name, bytes)) = file {
        part(format!("name=\"{name}\"; filename=\"{name}\""), bytes);
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Form { content_type: format!("multipart/form-data; boundary={boundary}"), body }
}

/// A boundary that is in none of the parts. It is made of them: whoever wrote a part does not know the others' hash before, and
/// the same form is the same bytes.
fn boundary(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    format!("atelier-{}", hasher.finalize().to_hex())
}

/// Milliseconds for which the backend may hold the answer to the question of this number: short ones first, so that quick
/// pictures are followed closely, then longer ones, so that slow ones come to their end within `limits.outbound-requests` (with 50
/// of them, after about four minutes).
pub(super) fn patience_ms(asked: u32) -> u64 {
    match asked {
        0..6 => 500,
        6..14 => 1_000,
        14..24 => 2_000,
        24..34 => 5_000,
        _ => 15_000,
    }
}

#[cfg(test)]
mod tests {
    use atelier_kit::Request;
    use atelier_kit::multipart;
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_form_is_read_as_it_was_written() {
        let form = form(&[("prompt", "a \"boat\"\r\n--x")], Some(("image", b"\r\n--\0")));
        let headers = [("content-type", form.content_type.as_str())].into_iter().collect();
        let request = Request { headers, body: form.body, ..Request::default() };
        let mut read = block_on(multipart::Form::read(request, &["image"])).expect("a form");
        assert_eq!(read.files("image"), [b"\r\n--\0"]);
    }

    #[test]
    fn the_questions_of_one_request_last_for_minutes() {
        let waited: u64 = (0..46).map(patience_ms).sum();
        assert!(waited > 240_000, "{waited}");
    }
}
