//! Forms with files, as curl posts them.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

/// A part of a form: its name, and a file's name where it is one, and what it holds.
pub(crate) type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

/// A form on its way to a path, as curl writes it.
pub(crate) fn form(path: &str, headers: &[(&str, &str)], parts: &[Part<'_>]) -> Request<Full<Bytes>> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        let head = format!("--cut\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend([head.as_bytes(), content, b"\r\n"].concat());
    }
    body.extend(b"--cut--\r\n");
    let request = Request::post(path).header("host", "test");
    let request = request.header("content-type", "multipart/form-data; boundary=cut");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Full::new(Bytes::from(body))).unwrap()
}
