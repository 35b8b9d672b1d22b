//! Where a recording's sound begins and ends within what its codec gives. Encoders put frames before it (delay) and
//! after it (to fill the last packet); containers say how many, each in its own way.

use super::resample::Resampler;

/// What a container says about the frames that are no part of the recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Frames to leave out at the start.
    pub(crate) skip: u64,
    /// Frames that follow them, if said.
    pub(crate) most: Option<u64>,
    /// Frames to leave out at the end.
    pub(crate) padding: u64,
}

impl Cut {
    /// The same end, and a start that leaves out `skip` frames if it left out fewer.
    pub(crate) fn with_at_least(self, skip: u64) -> Self {
        let more = skip.saturating_sub(self.skip);
        Self { skip: self.skip + more, most: self.most.map(|most| most.saturating_sub(more)), ..self }
    }
}

/// The longest padding that is believed: more than a packet is never padded, and what waits takes memory.
pub(crate) const MAX_PADDING: u64 = 1 << 17;

/// Takes decoded frames and gives those of the recording to the resampler. What may turn out to be padding waits.
pub(crate) struct Cutter {
    cut: Cut,
    resampler: Resampler,
    /// The last packet's frames, and so many before them as the padding has.
    waiting: Vec<f32>,
    /// How many of the last packet's frames are beyond the length that the container gives it.
    excess: usize,
    given: u64,
}

impl Cutter {
    pub(crate) fn new(cut: Cut, resampler: Resampler) -> Self {
        let cut = Cut { padding: cut.padding.min(MAX_PADDING), ..cut };
        Self { cut, resampler, waiting: Vec::new(), excess: 0, given: 0 }
    }

    /// Takes a packet's frames, of which the last `excess` do not count if no packet follows.
    pub(crate) fn push(&mut self, frames: &[f32], excess: usize) {
        let skipped = (frames.len() as u64).min(self.cut.skip);
        self.cut.skip -= skipped;
        let ready = self.waiting.len().saturating_sub(self.cut.padding as usize);
        self.give(ready);
        self.waiting.extend_from_slice(&frames[skipped as usize..]);
        self.excess = excess;
    }

    /// The file is cut off: its last packet is not the recording's last.
    pub(crate) fn end_early(&mut self) {
        self.cut.padding = 0;
        self.excess = 0;
    }

    /// How many frames of the source the recording has, and its samples.
    pub(crate) fn finish(mut self) -> (u64, Vec<f32>) {
        let padding = self.excess.max(self.cut.padding as usize);
        self.give(self.waiting.len().saturating_sub(padding));
        (self.given, self.resampler.finish())
    }

    /// Gives the first `count` of the frames that wait.
    fn give(&mut self, count: usize) {
        let left = self.cut.most.map_or(u64::MAX, |most| most - self.given);
        let given = (count as u64).min(left);
        self.resampler.push(&self.waiting[..given as usize]);
        self.given += given;
        self.waiting.drain(..count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::SAMPLE_RATE;

    fn cut(cut: Cut, packets: &[(std::ops::Range<u16>, usize)], whole: bool) -> Vec<f32> {
        let mut cutter = Cutter::new(cut, Resampler::new(SAMPLE_RATE, SAMPLE_RATE, 0));
        for (frames, excess) in packets {
            cutter.push(&frames.clone().map(f32::from).collect::<Vec<_>>(), *excess);
        }
        if !whole {
            cutter.end_early();
        }
        let (frames, samples) = cutter.finish();
        assert_eq!(frames, samples.len() as u64);
        samples
    }

    fn range(range: std::ops::Range<u16>) -> Vec<f32> {
        range.map(f32::from).collect()
    }

    #[test]
    fn the_start_is_left_out_across_packets() {
        let plan = Cut { skip: 13, ..Cut::default() };
        assert_eq!(cut(plan, &[(0..10, 0), (10..20, 0), (20..25, 0)], true), range(13..25));
        assert!(cut(plan, &[(0..10, 0)], true).is_empty());
    }

    #[test]
    fn padding_is_left_out_across_packets_unless_the_file_is_cut_off() {
        let plan = Cut { padding: 12, ..Cut::default() };
        let packets = [(0..10, 0), (10..20, 0), (20..25, 0)];
        assert_eq!(cut(plan, &packets, true), range(0..13));
        assert_eq!(cut(plan, &packets, false), range(0..25));
        assert!(cut(Cut { padding: u64::MAX, ..plan }, &packets, true).is_empty());
    }

    #[test]
    fn only_the_last_packet_is_shortened_to_its_length() {
        assert_eq!(cut(Cut::default(), &[(0..10, 4), (10..20, 3)], true), range(0..17));
        assert_eq!(cut(Cut::default(), &[(0..10, 4), (10..20, 3)], false), range(0..20));
    }

    #[test]
    fn a_later_start_keeps_the_end() {
        let plan = Cut { skip: 5, most: Some(8), padding: 1 };
        assert_eq!(plan.with_at_least(7), Cut { skip: 7, most: Some(6), padding: 1 });
        assert_eq!(plan.with_at_least(5), plan);
    }

    #[test]
    fn the_end_is_counted_from_the_start() {
        let plan = Cut { skip: 5, most: Some(8), padding: 0 };
        assert_eq!(cut(plan, &[(0..10, 0), (10..20, 0), (20..30, 0)], true), range(5..13));
    }
}
