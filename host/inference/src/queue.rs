//! The waiting line as a plain data structure: no threads, no clocks. First in, first out, with a bound; cancelled
//! entries are dropped where they stand.

use std::collections::VecDeque;

/// A bounded line of `T`.
pub(crate) struct Queue<T> {
    entries: VecDeque<T>,
    depth: usize,
}

impl<T> Queue<T> {
    /// An empty line of at most `depth` entries.
    pub(crate) fn new(depth: usize) -> Self {
        Self { entries: VecDeque::new(), depth }
    }

    /// Adds an entry at the end, or gives it back when the line is full.
    pub(crate) fn push(&mut self, entry: T) -> Result<(), T> {
        if self.entries.len() >= self.depth {
            return Err(entry);
        }
        self.entries.push_back(entry);
        Ok(())
    }

    /// Takes the first entry.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.entries.pop_front()
    }

    /// Takes out every entry for which `gone` holds, wherever it stands; the others keep their order.
    pub(crate) fn take_if(&mut self, gone: impl Fn(&T) -> bool) -> Vec<T> {
        let (taken, kept): (VecDeque<T>, _) = std::mem::take(&mut self.entries).into_iter().partition(gone);
        self.entries = kept;
        taken.into()
    }

    /// The entries in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn a_full_queue_gives_the_entry_back() {
        let mut queue = Queue::new(1);
        assert_eq!(queue.push("a"), Ok(()));
        assert_eq!(queue.push("b"), Err("b"));
        assert_eq!(queue.pop(), Some("a"));
        assert_eq!(queue.push("b"), Ok(()));
    }

    #[test]
    fn entries_leave_in_the_order_they_came_and_gone_ones_are_skipped() {
        let mut queue = Queue::new(8);
        for n in 0..6 {
            queue.push(n).unwrap();
        }
        assert_eq!(queue.take_if(|n| n % 2 == 1), [1, 3, 5]);
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), [0, 2, 4]);
    }

    /// xorshift64: the same walk on every machine.
    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn it_behaves_like_a_plain_list_under_any_mix_of_calls() {
        for seed in 1..=200 {
            let (mut random, mut plain) = (seed, Vec::new());
            let depth = (seed % 7) as usize;
            let mut queue = Queue::new(depth);
            for entry in 0..300 {
                match next(&mut random) % 8 {
                    0..=3 if plain.len() < depth => {
                        assert_eq!(queue.push(entry), Ok(()));
                        plain.push(entry);
                    }
                    0..=3 => assert_eq!(queue.push(entry), Err(entry)),
                    4..=6 => assert_eq!(queue.pop(), (!plain.is_empty()).then(|| plain.remove(0))),
                    _ => {
                        let (divisor, rest) = (2 + next(&mut random) % 3, next(&mut random) % 2);
                        let gone = |n: &u64| n % divisor == rest;
                        assert_eq!(
                            queue.take_if(gone),
                            plain.extract_if(.., |n| gone(n)).collect::<Vec<_>>()
                        );
                    }
                }
                assert_eq!(queue.iter().collect::<Vec<_>>(), plain.iter().collect::<Vec<_>>(), "seed {seed}");
                assert_eq!(queue.len(), plain.len());
            }
        }
    }
}
