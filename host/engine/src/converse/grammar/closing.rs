//! How a value ends soonest, wherever it is: so that a reply that runs out of tokens is whole all the same.

use super::program::{Node, Program};
use super::state::{Frame, State, Top};

impl Program {
    /// The bytes that end the value soonest.
    pub(super) fn closing(&self, state: &State) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut state = state.clone();
        bytes.extend(self.end_of_top(&mut state));
        while let Some(frame) = state.frame() {
            bytes.extend(self.end_of_frame(frame, state.top == Top::Ended));
            state = state.left();
        }
        bytes
    }

    /// Ends what is on top: afterwards a value of the frame has ended, or the frame has just been opened.
    fn end_of_top(&self, state: &mut State) -> Vec<u8> {
        let shortest = |node: usize| self.shortest.get(node).cloned().unwrap_or_default();
        let bytes = match state.top {
            Top::Opened => return Vec::new(),
            Top::Ended => Vec::new(),
            Top::Value { node, .. } => shortest(node),
            Top::Choice { node, choice, at } => self.rest_of_choice(node, choice, at),
            Top::Text { part, .. } => part.closing(),
            Top::Number(number) => number.closing(),
            Top::Key { node, first, property, at } => {
                return self.rest_of_key(state, (node, first), (property, at));
            }
            Top::Comma { .. } => match state.frame() {
                Some(Frame::Object { node, next }) => {
                    let first = self.candidates(node, next).start;
                    return self.rest_of_key(state, (node, next), (first, 0));
                }
                Some(Frame::Array { node, owed, room }) => {
                    let frame = Frame::Array { node, owed: owed.saturating_sub(1), room };
                    *state = state.replaced(frame, Top::Ended);
                    return self.least_item(node);
                }
                None => Vec::new(),
            },
        };
        *state = state.ended();
        bytes
    }

    /// The shortest of the values that begin as what is written.
    fn rest_of_choice(&self, node: usize, choice: usize, at: usize) -> Vec<u8> {
        let Some(Node::Choice(values)) = self.nodes.get(node) else { return Vec::new() };
        let written = values.get(choice).and_then(|value| value.get(..at)).unwrap_or_default();
        let fitting = values.iter().filter(|value| value.starts_with(written));
        fitting.min_by_key(|value| value.len()).map(|value| value[at..].to_vec()).unwrap_or_default()
    }

    /// The rest of a key, and the shortest value: of the property with which the object ends soonest.
    fn rest_of_key(
        &self,
        state: &mut State,
        (node, first): (usize, usize),
        (property, at): (usize, usize),
    ) -> Vec<u8> {
        let all = self.properties(node);
        let written = all.get(property).and_then(|own| own.key.get(..at)).unwrap_or_default();
        let way = |place: usize| {
            let own = &all[place];
            let bytes = [&own.key[at..], self.shortest[own.node].as_slice()].concat();
            let rest = self.end_of_frame(Frame::Object { node, next: place + 1 }, true).len();
            (bytes.len() + rest, place, bytes)
        };
        let fitting = self.candidates(node, first).filter(|place| all[*place].key.starts_with(written));
        let Some((_, place, bytes)) = fitting.map(way).min() else { return Vec::new() };
        *state = state.replaced(Frame::Object { node, next: place + 1 }, Top::Ended);
        bytes
    }

    /// What has to come yet of an object or a list, and its end.
    fn end_of_frame(&self, frame: Frame, has_value: bool) -> Vec<u8> {
        let (values, end): (Vec<Vec<u8>>, u8) = match frame {
            Frame::Object { node, next } => {
                let required =
                    self.properties(node).iter().skip(next).filter(|property| property.is_required);
                let value = |property: &super::program::Property| {
                    [property.key.as_slice(), &self.shortest[property.node]].concat()
                };
                (required.map(value).collect(), b'}')
            }
            Frame::Array { node, owed, .. } => (vec![self.least_item(node); owed as usize], b']'),
        };
        let mut bytes = values.join(&b','); // nothing is joined to nothing
        if has_value && !values.is_empty() {
            bytes.insert(0, b',');
        }
        bytes.push(end);
        bytes
    }

    fn least_item(&self, node: usize) -> Vec<u8> {
        match self.nodes.get(node) {
            Some(Node::Array { items, .. }) => {
                self.shortest.get(*items).cloned().unwrap_or_else(|| self.least(*items))
            }
            _ => Vec::new(),
        }
    }

    /// The shortest value of a place. Asked while the table of these is made, so it does not look there.
    pub(super) fn least(&self, node: usize) -> Vec<u8> {
        match &self.nodes[node] {
            Node::Object(properties) => {
                let required = properties.iter().filter(|property| property.is_required);
                let values: Vec<Vec<u8>> = required
                    .map(|property| [property.key.clone(), self.least(property.node)].concat())
                    .collect();
                [b"{".to_vec(), values.join(&b','), b"}".to_vec()].concat()
            }
            Node::Array { items, least, .. } => {
                let values = vec![self.least(*items); *least as usize];
                [b"[".to_vec(), values.join(&b','), b"]".to_vec()].concat()
            }
            Node::Choice(values) => {
                values.iter().min_by_key(|value| value.len()).cloned().unwrap_or_default()
            }
            Node::Text { .. } => b"\"\"".to_vec(),
            Node::Number { .. } => b"0".to_vec(),
        }
    }
}
