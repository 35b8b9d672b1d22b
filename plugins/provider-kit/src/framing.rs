//! Bytes of a streamed answer, cut into the data of events: server-sent events (the HTML standard, section 9.2.6) or one
//! JSON value a line. Bytes may be cut anywhere, inside a character too; what is given out is whole.

use crate::Error;

/// Longest line, and most data of one event: far more than any server puts into one.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// How a server separates its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events; only their data counts.
    Events,
    /// Lines.
    Lines,
}

impl Framing {
    /// The media types with which servers announce it.
    pub fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Events => &["text/event-stream"],
            Self::Lines => &["application/x-ndjson", "application/jsonl", "application/json-lines"],
        }
    }
}

/// Cuts one answer.
#[derive(Debug)]
pub(crate) struct Cutter {
    framing: Framing,
    line: Vec<u8>,
    /// A carriage return ended the last line: a line feed right after it belongs to it.
    after_return: bool,
    begun: bool,
    data: Option<String>,
}

impl Cutter {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, line: Vec::new(), after_return: false, begun: false, data: None }
    }

    /// Takes the next bytes and gives the data of events to `each`, which says whether it wants more.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(&str) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        for byte in bytes {
            match byte {
                b'\n' if std::mem::take(&mut self.after_return) => {}
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    if !self.line_ended(each)? {
                        return Ok(());
                    }
                }
                byte => {
                    self.after_return = false;
                    if self.line.len() >= MAX_EVENT_BYTES {
                        return Err(too_long());
                    }
                    self.line.push(*byte);
                }
            }
        }
        Ok(())
    }

    /// The answer is over: of lines, the last one may have no end. An event without its empty line was cut off.
    pub(crate) fn close(&mut self, each: &mut dyn FnMut(&str) -> Result<bool, Error>) -> Result<(), Error> {
        if self.framing == Framing::Lines && !self.line.is_empty() {
            self.line_ended(each)?;
        }
        Ok(())
    }

    fn line_ended(&mut self, each: &mut dyn FnMut(&str) -> Result<bool, Error>) -> Result<bool, Error> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8(line).map_err(|_| Error::Malformed("its stream is not UTF-8".into()))?;
        // a byte order mark may stand before everything
        let line = if std::mem::replace(&mut self.begun, true) {
            line.as_str()
        } else {
            line.strip_prefix('\u{feff}').unwrap_or(&line)
        };
        match self.framing {
            Framing::Lines if line.trim().is_empty() => Ok(true),
            Framing::Lines => each(line),
            Framing::Events => self.field(line, each),
        }
    }

    /// One line of server-sent events: the data of an event is given out at the empty line after it.
    fn field(
        &mut self,
        line: &str,
        each: &mut dyn FnMut(&str) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        if line.is_empty() {
            return match self.data.take() {
                Some(data) => each(&data),
                None => Ok(true),
            };
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        // comments have no name; other fields say nothing that a reply is made of
        if name == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) if data.len() + value.len() > MAX_EVENT_BYTES => return Err(too_long()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
        Ok(true)
    }
}

fn too_long() -> Error {
    Error::Malformed(format!("one event of its stream has more than {MAX_EVENT_BYTES} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(framing: Framing, pieces: &[&[u8]]) -> Result<Vec<String>, Error> {
        let (mut cutter, mut found) = (Cutter::new(framing), Vec::new());
        let mut each = |data: &str| {
            found.push(data.to_owned());
            Ok(true)
        };
        for piece in pieces {
            cutter.take(piece, &mut each)?;
        }
        cutter.close(&mut each)?;
        Ok(found)
    }

    /// However the bytes arrive, the events are these.
    fn always(framing: Framing, bytes: &[u8], events: &[&str]) {
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(cut(framing, &[head, tail]).unwrap(), events, "cut at {at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(cut(framing, &single).unwrap(), events, "byte by byte");
    }

    #[test]
    fn events_are_whole_wherever_their_bytes_are_cut() {
        let text = "\u{feff}: keep-alive\n\ndata: {\"a\":\"ä€😀\"}\n\nevent: x\nid: 7\ndata:one\ndata:  two\n\n\n\ndata\n\nretry: 3\n\ndata: cut off";
        let events = ["{\"a\":\"ä€😀\"}", "one\n two", ""];
        always(Framing::Events, text.as_bytes(), &events);
        always(Framing::Events, text.replace('\n', "\r\n").as_bytes(), &events);
        always(Framing::Events, text.replace('\n', "\r").as_bytes(), &events);
    }

    #[test]
    fn lines_are_whole_wherever_their_bytes_are_cut() {
        let text = "{\"a\":\"ä😀\"}\n\n{\"b\":1}\r\n  \n{\"last\":true}";
        always(Framing::Lines, text.as_bytes(), &["{\"a\":\"ä😀\"}", "{\"b\":1}", "{\"last\":true}"]);
    }

    #[test]
    fn what_is_too_long_or_no_text_is_refused() {
        let long = vec![b'a'; MAX_EVENT_BYTES + 1];
        assert!(matches!(cut(Framing::Lines, &[&long]), Err(Error::Malformed(_))));
        let line = [b"data: ".as_slice(), &vec![b'a'; MAX_EVENT_BYTES / 2], b"\n"].concat();
        assert!(matches!(cut(Framing::Events, &[&line, &line, &line]), Err(Error::Malformed(_))));
        assert!(matches!(cut(Framing::Events, &[b"data: \xff\n\n"]), Err(Error::Malformed(_))));
    }

    #[test]
    fn nothing_is_given_out_after_the_reader_has_enough() {
        let mut count = 0;
        let mut each = |_: &str| {
            count += 1;
            Ok(false)
        };
        Cutter::new(Framing::Lines).take(b"1\n2\n3\n", &mut each).unwrap();
        assert_eq!(count, 1);
    }
}
