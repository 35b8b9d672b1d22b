//! When waiting entries will start, as far as can be foretold: jobs that run side by side have equal parts of the worker's
//! time, and an entry starts beside them where it may be in their batch. A plain value; times are nanoseconds from now, and
//! come in from outside.

/// The jobs that run, and those that will.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    /// Most jobs side by side.
    room: usize,
    /// The model whose batch runs; none where a job runs alone.
    batch: Option<usize>,
    /// What each of the jobs that run still takes of the worker.
    left: Vec<u64>,
    /// How far the worker has been followed.
    now: u64,
}

impl Course {
    /// Nothing runs; of one batch, at most `room` will at a time.
    pub(crate) fn new(room: usize) -> Self {
        Self { room: room.max(1), batch: None, left: Vec::new(), now: 0 }
    }

    /// A job runs already, in the batch of a model or alone.
    pub(crate) fn run(&mut self, batch: Option<usize>, left: u64) {
        self.batch = batch;
        self.left.push(left);
    }

    /// When a job starts that is next and will take `cost` of the worker: beside those of its batch as soon as there is a place,
    /// otherwise after all that run.
    pub(crate) fn start(&mut self, batch: Option<usize>, cost: u64) -> u64 {
        let room = if batch.is_some() && batch == self.batch { self.room } else { 1 };
        while self.left.len() >= room {
            self.follow();
        }
        self.run(batch, cost);
        self.now
    }

    /// When the job at that place will have ended, where none starts: nobody beside it has more of the worker until then.
    pub(crate) fn end(&self, place: usize) -> u64 {
        let own = self.left.get(place).copied().unwrap_or_default();
        self.left.iter().map(|left| own.min(*left)).fold(0, u64::saturating_add)
    }

    /// Goes on to the next end of a job.
    fn follow(&mut self) {
        let least = self.left.iter().copied().min().unwrap_or_default();
        self.now = self.now.saturating_add(least.saturating_mul(self.left.len() as u64));
        self.left.iter_mut().for_each(|left| *left -= least);
        self.left.retain(|left| *left > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_run_alone_follow_each_other() {
        let mut course = Course::new(4);
        course.run(None, 7);
        assert_eq!([10, 20, 30].map(|cost| course.start(None, cost)), [7, 17, 37]);
        assert_eq!(course.start(Some(1), 5), 67, "a conversation waits for a picture");
        assert_eq!(course.start(None, 5), 72, "and a picture for a conversation");
    }

    #[test]
    fn a_batch_is_joined_at_once_while_there_is_a_place_and_then_when_the_first_ends() {
        let mut course = Course::new(2);
        course.run(Some(1), 10);
        assert_eq!(course.end(0), 10);
        assert_eq!(course.start(Some(1), 30), 0);
        assert_eq!((course.end(0), course.end(1)), (20, 40), "both are as slow as the shorter one lasts");
        assert_eq!(course.start(Some(1), 30), 20);
        // what is left of the second, 20, and the third
        assert_eq!(course.start(Some(2), 5), 70, "another model's conversation waits for both");
    }

    #[test]
    fn one_place_is_as_if_there_were_no_batches_and_no_time_overflows() {
        let mut course = Course::new(0);
        assert_eq!([1, 2, 3].map(|cost| course.start(Some(0), cost)), [0, 1, 3]);
        course.start(Some(0), u64::MAX);
        assert_eq!(course.start(Some(0), 1), u64::MAX);
        assert_eq!(course.end(9), 0);
    }
}
