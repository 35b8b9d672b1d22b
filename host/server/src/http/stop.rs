//! The way to the end, seen by everyone: running, draining (still accepting, but no longer ready), closing (accepting no
//! more, finishing what runs).

use tokio::sync::watch;

/// Where the process is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// All is well.
    Running,
    /// Not ready any more, so that balancers look elsewhere; requests are still taken.
    Draining,
    /// No new connection is taken; running requests finish.
    Closing,
}

/// Sees the phase.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<Phase>);

/// Sets the phase. Dropping it closes.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<Phase>);

impl Stopper {
    /// A running pair.
    pub(crate) fn new() -> (Stopper, Stop) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (Stopper(sender), Stop(receiver))
    }

    /// Goes on to a phase; never back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            if later {
                *now = phase;
            }
            later
        });
    }
}

impl Stop {
    /// The phase now.
    pub(crate) fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Ends once the process is closing.
    pub(crate) async fn closing(&mut self) {
        // an error means that the stopper is gone, which closes as well
        let _ = self.0.wait_for(|phase| *phase == Phase::Closing).await;
    }
}
