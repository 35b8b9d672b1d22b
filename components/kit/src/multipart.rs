//! Forms with files (RFC 7578, `multipart/form-data`) of a request whose body has been read. What the fields mean is the
//! handler's: it says which of them are files, and reads the others through its table.

use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};

use crate::Request;
use crate::fields::{self, Reader, Table};

/// The most parts of a form: more than any handler has fields and files.
const MAX_PARTS: usize = 256;

/// A form whose files are known by their names.
#[derive(Debug, Default)]
pub struct Form {
    texts: Vec<(String, String)>,
    files: Vec<(&'static str, Vec<u8>)>,
    /// The names of parts that are neither, such as a file under a name that the handler does not have.
    not_texts: Vec<String>,
}

/// The JSON schema of a form: a table's fields, and its files with what each is for. A field that may be left out begins empty
/// where a page offers to send the form: Swagger UI fills in what it makes up otherwise, such as the word "string".
pub fn schema(table: Table, files: &[(&str, &str)]) -> Value {
    let mut schema = fields::schema(table);
    for field in table.iter().filter(|field| !field.is_required()) {
        let property = &mut schema["properties"][field.key()];
        if property.get("default").is_none() {
            property["examples"] = json!([""]);
        }
    }
    for (name, about) in files {
        schema["properties"][name] =
            json!({"type": "string", "contentMediaType": "application/octet-stream", "description": about});
    }
    schema
}

impl Form {
    /// Reads the form that a request holds. Parts under the names of `files` are files, whatever else their heads say; all
    /// others are texts. The text of an error is to be shown.
    pub async fn read(request: Request, files: &[&'static str]) -> Result<Self, String> {
        let content_type = request.headers.get("content-type").unwrap_or_default();
        let boundary = multer::parse_boundary(content_type)
            .map_err(|_| "the body is no form; send multipart/form-data, as `curl -F` does".to_owned())?;
        let body =
            stream::once(futures::future::ok::<_, std::convert::Infallible>(Bytes::from(request.body)));
        let mut parts = multer::Multipart::new(body, boundary);
        let mut form = Self::default();
        while let Some(part) = parts.next_field().await.map_err(|error| broken(&error))? {
            let name = part.name().unwrap_or_default().to_owned();
            // what a browser sends for a file that nobody chose (the HTML standard, "constructing the entry list"), and what
            // Swagger UI and `curl -F file=` send, which say of no part that it would be a file
            let is_nameless = part.file_name().map_or(files.contains(&name.as_str()), str::is_empty);
            let bytes = part.bytes().await.map_err(|error| broken(&error))?;
            if !(is_nameless && bytes.is_empty()) {
                form.take(name, bytes, files)?;
            }
        }
        Ok(form)
    }

    /// The form without texts that are empty, which FastAPI takes for fields that were left out.
    #[must_use]
    pub fn without_empty_texts(mut self) -> Self {
        self.texts.retain(|(_, text)| !text.is_empty());
        self
    }

    /// The files of a name, in the order in which they were sent.
    pub fn files(&mut self, name: &str) -> Vec<Vec<u8>> {
        self.files.extract_if(.., |(known, _)| *known == name).map(|(_, bytes)| bytes).collect()
    }

    /// The texts on their way to a typed request. `files` are those of [`Form::read`].
    pub fn reader(self, table: Table, files: &[&'static str]) -> Reader {
        let mut reader = Reader::of_form(self.texts, table, files);
        for name in &self.not_texts {
            reader.not_text(name, table, files);
        }
        reader
    }

    fn take(&mut self, name: String, bytes: Bytes, files: &[&'static str]) -> Result<(), String> {
        if self.texts.len() + self.files.len() + self.not_texts.len() == MAX_PARTS {
            return Err(format!("the form has more than {MAX_PARTS} parts; send fewer"));
        }
        match files.iter().find(|known| **known == name) {
            Some(known) => self.files.push((known, bytes.into())),
            None => match String::from_utf8(bytes.into()) {
                Ok(text) => self.texts.push((name, text)),
                Err(_) => self.not_texts.push(name),
            },
        }
        Ok(())
    }
}

/// A body that is cut off, or was never a form.
fn broken(error: &multer::Error) -> String {
    format!("the form cannot be read: {error}; send it whole, as `curl -F` does")
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::fields::{Field, Integer, Text};

    const FILES: &[&str] = &["file", "picture"];

    fn read(body: &str) -> Result<Form, String> {
        let content_type = "multipart/form-data; boundary=XX";
        let headers = [("content-type", content_type)].into_iter().collect();
        let body = body.replace('\n', "\r\n").into_bytes();
        block_on(Form::read(Request { headers, body, ..Request::default() }, FILES))
    }

    fn part(name: &str, content: &str) -> String {
        format!("--XX\ncontent-disposition: form-data; name=\"{name}\"\n\n{content}\n")
    }

    #[test]
    fn files_are_told_by_their_names_and_keep_their_order() {
        let body =
            ["picture", "model", "picture", "file"].map(|name| part(name, &format!("a {name}"))).concat();
        let mut form = read(&format!("{body}--XX--\n")).expect("a form");
        assert_eq!(form.files("picture").len(), 2);
        assert_eq!(form.files("file"), [b"a file"]);
        assert_eq!(form.files("file"), Vec::<Vec<u8>>::new());
        assert_eq!(form.texts, [("model".to_owned(), "a model".to_owned())]);
    }

    #[test]
    fn a_file_that_nobody_chose_is_not_there_and_an_empty_one_is() {
        let file = |name: &str| {
            format!("--XX\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\n\n\n")
        };
        let mut form = read(&format!("{}{}--XX--\n", file(""), file("empty.wav"))).expect("a form");
        assert_eq!(form.files("file"), [b""]);
    }

    #[test]
    fn a_file_that_is_an_empty_text_is_not_there_and_any_other_text_in_its_place_is() {
        let mut form = read(&format!("{}--XX--\n", part("file", ""))).expect("a form");
        assert_eq!(form.files("file"), Vec::<Vec<u8>>::new());
        let mut form = read(&format!("{}--XX--\n", part("file", "x"))).expect("a form");
        assert_eq!(form.files("file"), [b"x"]);
    }

    static NOTE: Field<Text> = Field::required("note", Text { min: 1, max: 9 }, "what to say");
    static STEPS: Field<Integer> = Field::with_default("steps", Integer { min: 1, max: 9 }, 2, "how many");
    static HINT: Field<Text> = Field::optional("hint", Text { min: 1, max: 9 }, "what to know");
    const TABLE: Table = &[&NOTE, &STEPS, &HINT];

    #[test]
    fn a_file_under_another_name_is_no_field_and_one_in_a_texts_place_is_no_text() {
        let bytes = |name: &str| {
            let head = format!("--XX\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
            [head.as_bytes(), b"\xff\xd8", b"\r\n"].concat()
        };
        let body = [bytes("photo"), bytes("note"), b"--XX--\r\n".to_vec()].concat();
        let headers = [("content-type", "multipart/form-data; boundary=XX")].into_iter().collect();
        let form = block_on(Form::read(Request { headers, body, ..Request::default() }, FILES));
        let mut reader = form.expect("a form").reader(TABLE, FILES);
        let note = reader.value(&NOTE);
        let text = "`photo` is not a field; the fields are note, steps, hint, file, picture; `note` is not UTF-8; send text";
        assert_eq!(reader.finish(note), Err(text.into()));
    }

    #[test]
    fn what_may_be_left_out_begins_empty_in_a_page_that_sends_forms() {
        let properties = &schema(TABLE, &[("file", "what to read")])["properties"];
        let examples = ["note", "steps", "hint", "file"].map(|name| properties[name]["examples"].clone());
        assert_eq!(examples, [Value::Null, Value::Null, json!([""]), Value::Null]);
        assert_eq!(properties["file"]["description"], "what to read");
    }

    #[test]
    fn empty_texts_may_count_as_left_out() {
        let body = format!("{}{}--XX--\n", part("steps", ""), part("prompt", "a"));
        let form = read(&body).expect("a form").without_empty_texts();
        assert_eq!(form.texts, [("prompt".to_owned(), "a".to_owned())]);
    }

    #[test]
    fn what_is_no_form_or_only_a_part_of_one_is_refused() {
        let request = Request { body: b"{}".to_vec(), ..Request::default() };
        let error = block_on(Form::read(request, FILES)).expect_err("no form");
        assert!(error.contains("multipart/form-data"), "{error}");
        for body in ["", "--XX", "--XX\nno head at all", &part("file", "cut off"), "nonsense\n"] {
            assert!(read(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_form_of_too_many_parts_is_refused() {
        let body = part("a", "b").repeat(MAX_PARTS + 1) + "--XX--\n";
        assert!(read(&body).expect_err("too many").contains("more than 256 parts"));
    }
}
