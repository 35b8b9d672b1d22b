//! The doors in front of what is scarce: instances, plugins, the decoder, threads that compute. A door has places, and a
//! line per tenant for those who come when there is none. The rules:
//!
//! 1. A tenant that holds less than its share of the places takes any free one.
//! 2. Beyond its share it borrows, but never the last places that the door keeps: a tenant that comes late finds one at
//!    once, and not when a neighbour's slow requests have ended.
//! 3. A place that becomes free goes to the line whose tenant holds the least of its share. So nobody gets more than its
//!    share while others wait. Tenants that hold equally little take turns by start-time fair queueing: by share, and a
//!    higher priority twice as often as the next lower one. So nobody waits for ever either.
//! 4. Lines in front of the instances are bounded and their patience ends. Whoever is refused is told by the measured time
//!    of a request when to come back.
//!
//! Knows tenants by name and share, and nothing of what the places are for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use atelier_inference::{Priority, TenantId};
use tokio::sync::oneshot;

use crate::tenant::{Share, Tenant};
use crate::{DoorStatus, Failure, metrics};

/// The least and the most that a refused client is told to stay away.
pub(crate) const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Who may wait inside, of each tenant: far more than requests within their limits ask for at once.
const INNER_WAITING: usize = 4_096;

/// A turn of the least weight, in virtual time: large enough to be divided by the greatest.
const TURN: u64 = 1 << 32;

/// How a door is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Who may be inside at a time.
    pub(crate) places: u32,
    /// Places that only tenants within their share may take.
    pub(crate) kept: u32,
    /// Who may wait, of each tenant.
    pub(crate) waiting: usize,
    /// How long they wait.
    pub(crate) patience: Duration,
}

/// Lets so many in, each tenant by its share.
pub(crate) struct Door {
    rules: Rules,
    state: Mutex<State>,
}

struct State {
    free: u32,
    /// Of tenants that hold a place or wait for one; nobody else is remembered.
    lines: BTreeMap<TenantId, Line>,
    /// The virtual time: of the latest turn.
    clock: u64,
    /// For how long a place is held.
    mean: Duration,
}

struct Line {
    share: Share,
    priority: Priority,
    held: u32,
    /// The virtual time of its latest turn.
    turn: u64,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// A place inside, until it is dropped.
pub(crate) struct Place {
    /// None when it was handed to somebody who had gone.
    door: Option<Arc<Door>>,
    tenant: TenantId,
    since: Instant,
}

/// What a door says at once.
enum Said {
    Enter(Place),
    Wait(oneshot::Receiver<Place>),
    Full,
}

impl Door {
    pub(crate) fn new(rules: Rules) -> Arc<Self> {
        let state = State { free: rules.places, lines: BTreeMap::new(), clock: 0, mean: Duration::ZERO };
        Arc::new(Self { rules, state: Mutex::new(state) })
    }

    /// A door inside a request: the request's own deadline ends its patience.
    pub(crate) fn inner(places: u32, kept: u32) -> Arc<Self> {
        Self::new(Rules { places, kept, waiting: INNER_WAITING, patience: Duration::MAX })
    }

    /// A place, soon, or why not.
    pub(crate) async fn enter(self: &Arc<Self>, tenant: &Tenant) -> Result<Place, Failure> {
        let said = self.ask(tenant);
        match said {
            Said::Enter(place) => Ok(place),
            Said::Full => Err(self.refusal(tenant)),
            Said::Wait(grant) => match tokio::time::timeout(self.rules.patience, grant).await {
                Ok(Ok(place)) => Ok(place),
                _ => Err(self.refusal(tenant)),
            },
        }
    }

    /// A place, if there is one now.
    pub(crate) fn try_enter(self: &Arc<Self>, tenant: &Tenant) -> Option<Place> {
        match self.ask(tenant) {
            Said::Enter(place) => Some(place),
            // whoever was put into the line leaves it with this
            Said::Wait(_) | Said::Full => None,
        }
    }

    /// Who is inside, and who waits.
    pub(crate) fn status(&self, name: &'static str) -> DoorStatus {
        let (state, places) = (self.state(), self.rules.places);
        let waiting = state.lines.values().map(Line::ahead).sum();
        DoorStatus { name, places, held: places - state.free, waiting }
    }

    fn ask(self: &Arc<Self>, tenant: &Tenant) -> Said {
        let mut state = self.state();
        let state = &mut *state;
        let free = state.free;
        let line = state.lines.entry(tenant.id.clone()).or_default();
        (line.share, line.priority) = (tenant.share, tenant.priority);
        if line.waiting.is_empty() {
            // who was away has saved nothing up
            line.turn = line.turn.max(state.clock);
        }
        if line.waiting.is_empty() && self.may_enter(line, free) {
            line.held += 1;
            state.free -= 1;
            return Said::Enter(self.place(tenant.id.clone()));
        }
        if line.waiting.len() >= self.rules.waiting {
            // those who gave up keep nobody out
            line.waiting.retain(|waiter| !waiter.is_closed());
        }
        if line.waiting.len() >= self.rules.waiting {
            return Said::Full;
        }
        let (grant, granted) = oneshot::channel();
        line.waiting.push_back(grant);
        Said::Wait(granted)
    }

    fn may_enter(&self, line: &Line, free: u32) -> bool {
        let own = line.share.of(self.rules.places);
        // whoever owns all the places shares them with nobody
        let kept = self.rules.kept.min(self.rules.places - own);
        free > 0 && (line.held < own || free > kept)
    }

    fn place(self: &Arc<Self>, tenant: TenantId) -> Place {
        Place { door: Some(self.clone()), tenant, since: Instant::now() }
    }

    /// Takes a place back and gives free ones away.
    fn leave(self: &Arc<Self>, tenant: &TenantId, held: Duration) {
        let mut state = self.state();
        let state = &mut *state;
        state.free += 1;
        state.mean = metrics::mean(state.mean, held);
        if let Some(line) = state.lines.get_mut(tenant) {
            line.held -= 1;
        }
        while let Some(next) = self.next(state) {
            let Some(line) = state.lines.get_mut(&next) else { break };
            let Some(waiter) = line.waiting.pop_front() else { break };
            match waiter.send(self.place(next)) {
                Ok(()) => {
                    line.held += 1;
                    let began = line.turn;
                    line.turn = line.next_turn();
                    state.clock = state.clock.max(began);
                    state.free -= 1;
                }
                // gone; dropping the place must not come back here, where the lock is held
                Err(mut place) => place.door = None,
            }
        }
        state.lines.retain(|_, line| line.held > 0 || !line.waiting.is_empty());
    }

    /// Whose turn it is.
    fn next(&self, state: &State) -> Option<TenantId> {
        let waits = state.lines.iter().filter(|(_, line)| !line.waiting.is_empty());
        let may = waits.filter(|(_, line)| self.may_enter(line, state.free));
        let first = may.min_by(|(_, a), (_, b)| {
            let load = |one: &Line, other: &Line| u64::from(one.held) * u64::from(other.share.own);
            load(a, b).cmp(&load(b, a)).then_with(|| a.next_turn().cmp(&b.next_turn()))
        });
        first.map(|(id, _)| id.clone())
    }

    /// What a tenant is told that cannot enter: to have patience with the host, or to hold back itself.
    fn refusal(&self, tenant: &Tenant) -> Failure {
        let state = self.state();
        let (own, places) = (tenant.share.of(self.rules.places), self.rules.places);
        let (held, ahead) = state.lines.get(&tenant.id).map_or((0, 0), |line| (line.held, line.ahead()));
        // the line moves on as often as a place of this tenant becomes free
        let turns = (ahead + 1).div_ceil(own.max(held).max(1));
        let retry_after = (state.mean * turns).clamp(MIN_RETRY_AFTER, MAX_RETRY_AFTER);
        if own < places && held >= own {
            return Failure::Share { tenant: tenant.id.to_string(), running: held, retry_after };
        }
        Failure::Saturated { limit: places, retry_after }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Those who really wait.
    fn ahead(&self) -> u32 {
        self.waiting.iter().filter(|waiter| !waiter.is_closed()).count() as u32
    }

    /// When its next turn is, in virtual time: the sooner, the larger its weight.
    fn next_turn(&self) -> u64 {
        let weight = match self.priority {
            Priority::Low => 1,
            Priority::Normal => 2,
            Priority::High => 4,
        };
        self.turn + TURN / (u64::from(self.share.own.max(1)) * weight)
    }
}

impl Default for Line {
    fn default() -> Self {
        let share = Share { own: 1, total: 1 };
        Self { share, priority: Priority::default(), held: 0, turn: 0, waiting: VecDeque::new() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(door) = self.door.take() {
            door.leave(&self.tenant, self.since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests;
