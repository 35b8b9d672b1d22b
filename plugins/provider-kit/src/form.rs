//! Forms with files (`multipart/form-data`, RFC 7578), written. Names, file names and media types are the plugin's own words and
//! need no escaping; values are anybody's, and go out as they are.

/// A form; its fields stay in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    parts: Vec<(String, Vec<u8>)>,
}

impl Form {
    /// The same with a field of text.
    #[must_use]
    pub fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let head = format!("content-disposition: form-data; name=\"{name}\"");
        self.parts.push((head, value.into().into_bytes()));
        self
    }

    /// The same with a file.
    #[must_use]
    pub fn file(mut self, name: &'static str, file: (&'static str, &'static str), bytes: &[u8]) -> Self {
        let (file_name, media_type) = file;
        let head = format!(
            "content-disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\ncontent-type: {media_type}"
        );
        self.parts.push((head, bytes.to_vec()));
        self
    }

    /// The media type with its boundary, and the body.
    pub(crate) fn written(&self) -> (String, Vec<u8>) {
        let boundary = self.boundary();
        let mut body = Vec::new();
        for (head, value) in &self.parts {
            body.extend(format!("--{boundary}\r\n{head}\r\n\r\n").into_bytes());
            body.extend(value);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{boundary}--\r\n").into_bytes());
        (format!("multipart/form-data; boundary={boundary}"), body)
    }

    /// Bytes that are in no value, so that no value can end its field early.
    fn boundary(&self) -> String {
        let is_free = |boundary: &String| {
            let mut values = self.parts.iter().map(|(_, value)| value);
            !values.any(|value| value.windows(boundary.len()).any(|bytes| bytes == boundary.as_bytes()))
        };
        // a value has room for so many of them and no more
        let mut all = (0..).map(|number: u64| format!("part-of-a-form-{number}"));
        all.find(is_free).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_written_as_servers_read_it() {
        let form = Form::default().text("model", "a").file("image", ("image.png", "image/png"), b"\x89P\r\n");
        let (media_type, body) = form.written();
        assert_eq!(media_type, "multipart/form-data; boundary=part-of-a-form-0");
        let expected = b"--part-of-a-form-0\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\na\r\n\
            --part-of-a-form-0\r\ncontent-disposition: form-data; name=\"image\"; filename=\"image.png\"\r\n\
            content-type: image/png\r\n\r\n\x89P\r\n\r\n--part-of-a-form-0--\r\n";
        assert_eq!(body, expected);
    }

    #[test]
    fn no_value_ends_its_field() {
        let form = Form::default().text("prompt", "--part-of-a-form-0\r\n--part-of-a-form-1--");
        assert_eq!(form.boundary(), "part-of-a-form-2");
    }
}
