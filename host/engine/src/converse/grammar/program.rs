//! A schema's shape as a table of nodes, and the step from one state to the next by a byte.

use atelier_inference::chat::Shape;

use super::state::{Frame, Number, State, Text, Top};

/// What kind of value stands at a place of the schema.
#[derive(Debug)]
pub(super) enum Node {
    Object(Vec<Property>),
    Array {
        items: usize,
        least: u32,
        most: Option<u32>,
    },
    /// Whole values, as they are written.
    Choice(Vec<Vec<u8>>),
    Text {
        most: Option<u32>,
    },
    Number {
        is_integer: bool,
    },
}

#[derive(Debug)]
pub(super) struct Property {
    /// As it is written, with the colon.
    pub(super) key: Vec<u8>,
    pub(super) node: usize,
    pub(super) is_required: bool,
}

/// All places of a schema; the first is the whole.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) nodes: Vec<Node>,
    /// The shortest value of each.
    pub(super) shortest: Vec<Vec<u8>>,
}

impl Program {
    pub(super) fn new(shape: &Shape) -> Self {
        let mut program = Self { nodes: Vec::new(), shortest: Vec::new() };
        program.add(shape);
        program.shortest = (0..program.nodes.len()).map(|node| program.least(node)).collect();
        program
    }

    /// Adds a place and those below it; schemas are not deep.
    fn add(&mut self, shape: &Shape) -> usize {
        let place = self.nodes.len();
        // taken by what follows when its parts have their places
        self.nodes.push(Node::Choice(Vec::new()));
        let words =
            |words: &[&str]| Node::Choice(words.iter().map(|word| word.as_bytes().to_vec()).collect());
        let node = match shape {
            Shape::Object(properties) => {
                let property = |property: &atelier_inference::chat::Property| Property {
                    key: format!("{}:", serde_json::Value::from(property.name.as_str())).into_bytes(),
                    node: self.add(&property.shape),
                    is_required: property.required,
                };
                Node::Object(properties.iter().map(property).collect())
            }
            Shape::Array { items, least, most } => {
                Node::Array { items: self.add(items), least: *least, most: *most }
            }
            Shape::Choice(values) => {
                Node::Choice(values.iter().map(|value| value.to_string().into_bytes()).collect())
            }
            Shape::String { most } => Node::Text { most: *most },
            Shape::Integer => Node::Number { is_integer: true },
            Shape::Number => Node::Number { is_integer: false },
            Shape::Boolean => words(&["true", "false"]),
            Shape::Null => words(&["null"]),
        };
        self.nodes[place] = node;
        place
    }

    pub(super) fn start(&self) -> State {
        State { outer: None, top: Top::Value { node: 0, may_space: false } }
    }

    /// Where a value is after one byte more; none where the byte does not fit.
    pub(super) fn step(&self, state: &State, byte: u8) -> Option<State> {
        let with = |top| Some(State { outer: state.outer.clone(), top });
        match state.top {
            Top::Value { node, may_space: true } if byte == b' ' => {
                with(Top::Value { node, may_space: false })
            }
            Top::Value { node, .. } => self.begin(state, node, byte),
            Top::Choice { node, choice, at } => self.choose(state, (node, choice, at), byte),
            Top::Key { node, first, property, at } => {
                let (property, at) = self.key(node, first, (property, at), byte)?;
                let own = self.properties(node).get(property)?;
                if at < own.key.len() {
                    return with(Top::Key { node, first, property, at });
                }
                let frame = Frame::Object { node, next: property + 1 };
                Some(state.replaced(frame, Top::Value { node: own.node, may_space: true }))
            }
            Top::Text { left, part } => match part.step(left, byte)? {
                Some((left, part)) => with(Top::Text { left, part }),
                None => Some(state.ended()),
            },
            Top::Number(number) => match number.step(byte) {
                Some(number) => with(Top::Number(number)),
                // only what follows a number says that it has ended
                None if number.is_whole() => self.step(&state.ended(), byte),
                None => None,
            },
            Top::Opened => self.after_opened(state, byte),
            Top::Comma { may_space: true } if byte == b' ' => with(Top::Comma { may_space: false }),
            Top::Comma { .. } => self.after_comma(state, byte),
            Top::Ended => self.after_value(state, byte),
        }
    }

    /// The first byte of a value.
    fn begin(&self, state: &State, node: usize, byte: u8) -> Option<State> {
        let with = |top| Some(State { outer: state.outer.clone(), top });
        match (self.nodes.get(node)?, byte) {
            (Node::Object(_), b'{') => Some(state.within(Frame::Object { node, next: 0 }, Top::Opened)),
            (Node::Array { least, most, .. }, b'[') => {
                Some(state.within(Frame::Array { node, owed: *least, room: *most }, Top::Opened))
            }
            (Node::Choice(_), byte) => self.choose(state, (node, 0, 0), byte),
            (Node::Text { most }, b'"') => with(Top::Text { left: *most, part: Text::Plain }),
            (Node::Number { is_integer }, byte) => with(Top::Number(Number::begin(*is_integer, byte)?)),
            _ => None,
        }
    }

    /// One byte more of a value that is one of several. A whole one may be the beginning of another, as 1 is of 12.
    fn choose(&self, state: &State, (node, choice, at): (usize, usize, usize), byte: u8) -> Option<State> {
        let Node::Choice(values) = self.nodes.get(node)? else { return None };
        let written = values.get(choice)?.get(..at)?;
        let goes_on = |value: &Vec<u8>| value.starts_with(written) && value.get(at) == Some(&byte);
        let Some(choice) = values.iter().position(goes_on) else {
            let is_whole = at > 0 && values.iter().any(|value| value == written);
            return if is_whole { self.step(&state.ended(), byte) } else { None };
        };
        let at = at + 1;
        let longer = |value: &Vec<u8>| value.len() > at && value.starts_with(&values[choice][..at]);
        if values[choice].len() == at && !values.iter().any(longer) {
            return Some(state.ended());
        }
        Some(State { outer: state.outer.clone(), top: Top::Choice { node, choice, at } })
    }

    /// One byte more of a key: the first property that fits, and how much of it is written.
    fn key(
        &self,
        node: usize,
        first: usize,
        (property, at): (usize, usize),
        byte: u8,
    ) -> Option<(usize, usize)> {
        let all = self.properties(node);
        let written = all.get(property)?.key.get(..at)?;
        let goes_on = |place: &usize| {
            let key = &all[*place].key;
            key.starts_with(written) && key.get(at) == Some(&byte)
        };
        self.candidates(node, first).find(goes_on).map(|place| (place, at + 1))
    }

    /// After `{` or `[`.
    fn after_opened(&self, state: &State, byte: u8) -> Option<State> {
        let frame = state.frame()?;
        match (frame, byte) {
            (Frame::Object { node, next }, b'}') => self.can_end(node, next).then(|| state.left()),
            (Frame::Object { node, next }, b'"') => self.first_of_key(state, node, next),
            (Frame::Array { owed: 0, .. }, b']') => Some(state.left()),
            (Frame::Array { .. }, byte) => self.item(state, byte),
            _ => None,
        }
    }

    fn after_comma(&self, state: &State, byte: u8) -> Option<State> {
        match (state.frame()?, byte) {
            (Frame::Object { node, next }, b'"') => self.first_of_key(state, node, next),
            (Frame::Array { .. }, byte) => self.item(state, byte),
            _ => None,
        }
    }

    /// After a value within an object or a list.
    fn after_value(&self, state: &State, byte: u8) -> Option<State> {
        let comma = || Some(State { outer: state.outer.clone(), top: Top::Comma { may_space: true } });
        match (state.frame()?, byte) {
            (Frame::Object { node, next }, b',') => comma().filter(|_| next < self.properties(node).len()),
            (Frame::Object { node, next }, b'}') => self.can_end(node, next).then(|| state.left()),
            (Frame::Array { room, .. }, b',') => comma().filter(|_| room != Some(0)),
            (Frame::Array { owed: 0, .. }, b']') => Some(state.left()),
            _ => None,
        }
    }

    fn first_of_key(&self, state: &State, node: usize, first: usize) -> Option<State> {
        let property = self.candidates(node, first).next()?;
        Some(State { outer: state.outer.clone(), top: Top::Key { node, first, property, at: 1 } })
    }

    /// The first byte of an item.
    fn item(&self, state: &State, byte: u8) -> Option<State> {
        let Frame::Array { node, owed, room } = state.frame()? else { return None };
        let Node::Array { items, .. } = self.nodes.get(node)? else { return None };
        let room = match room {
            Some(0) => return None,
            room => room.map(|room| room - 1),
        };
        let frame = Frame::Array { node, owed: owed.saturating_sub(1), room };
        self.begin(&state.replaced(frame, Top::Ended), *items, byte)
    }

    /// Whether the whole might end here; a number that stands alone may go on.
    pub(super) fn is_whole(&self, state: &State) -> bool {
        state.outer.is_none()
            && match state.top {
                Top::Number(number) => number.is_whole(),
                Top::Choice { node, choice, at } => match self.nodes.get(node) {
                    Some(Node::Choice(values)) => {
                        let written = values.get(choice).and_then(|value| value.get(..at));
                        at > 0 && values.iter().any(|value| Some(value.as_slice()) == written)
                    }
                    _ => false,
                },
                top => top == Top::Ended,
            }
    }

    pub(super) fn properties(&self, node: usize) -> &[Property] {
        match self.nodes.get(node) {
            Some(Node::Object(properties)) => properties,
            _ => &[],
        }
    }

    /// The properties that may come next: up to the first that has to.
    pub(super) fn candidates(&self, node: usize, first: usize) -> std::ops::Range<usize> {
        let all = self.properties(node);
        let required = (first..all.len()).find(|place| all[*place].is_required);
        first..required.map_or(all.len(), |place| place + 1)
    }

    pub(super) fn can_end(&self, node: usize, next: usize) -> bool {
        !self.properties(node).iter().skip(next).any(|property| property.is_required)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use atelier_inference::chat::Schema;

    fn program(schema: &str) -> Program {
        Program::new(Schema::parse(schema).unwrap().shape())
    }

    /// After every byte the value can still be ended, and is then JSON.
    fn run(program: &Program, text: &[u8]) -> Option<State> {
        let mut state = program.start();
        for (at, byte) in text.iter().enumerate() {
            let next = program.step(&state, *byte)?;
            let whole = [&text[..=at], &program.closing(&next)].concat();
            let value = serde_json::from_slice::<serde_json::Value>(&whole);
            assert!(value.is_ok(), "{:?}: {value:?}", String::from_utf8_lossy(&whole));
            let end =
                whole[at + 1..].iter().try_fold(next.clone(), |state, byte| program.step(&state, *byte));
            assert!(program.is_whole(&end.unwrap()), "{:?}", String::from_utf8_lossy(&whole));
            state = next;
        }
        Some(state)
    }

    fn fits(program: &Program, text: &str) -> bool {
        run(program, text.as_bytes()).is_some_and(|state| program.is_whole(&state))
    }

    #[test]
    fn what_fits_is_let_through_and_nothing_else() {
        let object = r#"{"type": "object", "additionalProperties": false, "required": ["name", "size"], "properties": {
            "colour": {"enum": ["red", "r", "blue", null, 1, 12]}, "name": {"type": "string", "maxLength": 3},
            "namely": {"type": "boolean"}, "size": {"type": "number"},
            "list": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2}}}"#;
        let string = r#"{"type": "string"}"#;
        let strings = r#"{"type": "array", "items": {"type": "string"}}"#;
        let cases: [(&str, &[&str], &[&str]); 7] = [
            (
                object,
                &[
                    r#"{"name":"a","size":1}"#,
                    r#"{"colour": "r", "name": "äé日", "namely": true, "size": -0.5e-3, "list": [1, -20]}"#,
                    r#"{"colour": 12,"name": "\u00e9\"\n", "size": 0}"#,
                    r#"{"colour":1,"name":"","size":10}"#,
                ],
                &[
                    r#"{}"#,
                    r#"{"name":"abcd","size":1}"#,
                    r#"{"size":1,"name":"a"}"#,
                    r#"{"name":"a","size":1,"list":[]}"#,
                    r#"{"name":"a","size":1,"list":[1,2,3]}"#,
                    r#"{"name":"a","size":01}"#,
                    r#"{"name":"a","size":1.}"#,
                    r#"{"name":"a","size":1,}"#,
                    r#"{"colour":"green","name":"a","size":1}"#,
                    r#"{"name":"a","size":1,"more":2}"#,
                    r#"{ "name":"a","size":1}"#,
                ],
            ),
            (
                string,
                &[r#""""#, r#""a\\b""#, r#""\ud7ff""#],
                &[r#""\ud800""#, "\"\n\"", r#""\x""#, "a", "\"a\" "],
            ),
            (strings, &["[]", r#"["a", "b"]"#, r#"["😀"]"#], &["[,]", r#"["a",]"#, "[1]"]),
            (
                r#"{"type": "integer"}"#,
                &["0", "-7", "123456789012345"],
                &["1.5", "-", "-0", "1234567890123456", "+1", "1e3"],
            ),
            (r#"{"type": "number"}"#, &["1e99", "2.5E+07", "-0.0"], &["1e999", ".5"]),
            (r#"{"enum": [1, 12, "a"]}"#, &["1", "12", r#""a""#], &["2", "123", r#""b""#]),
            (r#"{"type": "boolean"}"#, &["true", "false"], &["null", "tru"]),
        ];
        for (schema, good, bad) in cases {
            let program = program(schema);
            good.iter().for_each(|text| assert!(fits(&program, text), "{schema}: {text}"));
            bad.iter().for_each(|text| assert!(!fits(&program, text), "{schema}: {text}"));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_out() {
        let program = program(r#"{"type": "string"}"#);
        for bytes in [
            &b"\"\x80"[..],
            b"\"\xc0\xaf",
            b"\"\xed\xa0\x80",
            b"\"\xf5\x80",
            b"\"\xf4\x90",
            b"\"\xe0\x80",
            b"\"\xc3\"",
        ] {
            assert!(run(&program, bytes).is_none(), "{bytes:?}");
        }
        assert!(run(&program, "\"\u{ed00}\u{10ffff}\u{800}\u{80}".as_bytes()).is_some());
    }
}
