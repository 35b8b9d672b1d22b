//! The stream in which other programs follow what becomes of jobs, and miss nothing while they are away: an entry for each state in
//! which a job was found when its copy was written. How far a job is stands in its hash alone: it changes often, and would push out
//! what must not be missed. What a job reads like does so as well: it would outlive the hash there.
//!
//! What was told of a job last is noted beside the stream, in the same step, for an hour longer than the hash is there. So restarts
//! of the host repeat nothing, and a server that lost everything is told everything.

use redis::Pipeline;

use crate::storage::jobs::{JobState, JobStatus};

/// The stream, the note; how many entries the stream has, what is to be noted, for how many seconds, and the entry's names and
/// values. What is forgotten (for no seconds) is told to those who were told of it before.
const SCRIPT: &str = "
local told, life = redis.call('GET', KEYS[2]), tonumber(ARGV[3])
if told ~= ARGV[2] and (told or life > 0) then
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 4))
end
if life > 0 then redis.call('SET', KEYS[2], ARGV[2], 'EX', life) else redis.call('DEL', KEYS[2]) end
";

/// So many seconds a note outlives its hash, for whoever forgets the job later than that.
const NOTE_LONGER: u64 = 3_600;
/// What a stream says of a job that is not known any more.
const FORGOTTEN: &str = "forgotten";

/// How a job stands, for those who follow that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTurn {
    /// As it was ordered.
    pub kind: String,
    /// How it stands.
    pub state: JobState,
    /// How often it was begun.
    pub attempts: u32,
    /// When it was kept, in milliseconds since 1970.
    pub submitted_ms: u64,
    /// When it was last begun.
    pub started_ms: Option<u64>,
    /// When it ended.
    pub ended_ms: Option<u64>,
}

impl From<&JobStatus> for JobTurn {
    fn from(status: &JobStatus) -> Self {
        Self {
            kind: status.kind.clone(),
            state: status.state,
            attempts: status.attempts,
            submitted_ms: status.submitted_ms,
            started_ms: status.started_ms,
            ended_ms: status.ended_ms,
        }
    }
}

/// An entry that is to be in a stream, unless it is there.
#[derive(Debug)]
pub(super) struct Entry {
    stream: String,
    length: u64,
    /// The note's key, and what is noted.
    note: String,
    told: String,
    /// For how many seconds; none where the job is forgotten.
    life: u64,
    fields: Vec<(&'static str, String)>,
}

impl Entry {
    /// That a job stands so, or is forgotten. `names` say where the job is and what its hash is called; `life` is the hash's.
    pub(super) fn new(
        (stream, length): (String, u64),
        id: &str,
        names: &[(&'static str, &str)],
        turn: Option<&JobTurn>,
        life: u64,
    ) -> Self {
        let mut fields: Vec<_> = names.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let state = turn.map_or(FORGOTTEN, |turn| turn.state.name());
        fields.push(("state", state.to_owned()));
        if let Some(turn) = turn {
            fields.push(("kind", turn.kind.clone()));
            fields.push(("attempts", turn.attempts.to_string()));
            let times = [
                ("submitted", Some(turn.submitted_ms)),
                ("started", turn.started_ms),
                ("ended", turn.ended_ms),
            ];
            fields.extend(times.into_iter().filter_map(|(name, time)| Some((name, time?.to_string()))));
        }
        // the second attempt is another turn than the first
        let told = format!("{state} {}", turn.map_or(0, |turn| turn.attempts));
        let life = turn.map_or(0, |_| life.saturating_add(NOTE_LONGER));
        Self { note: format!("{stream}:told:{id}"), stream, length, told, life, fields }
    }

    pub(super) fn add_to(&self, changes: &mut Pipeline) {
        let script = changes.cmd("EVAL").arg(SCRIPT).arg(2).arg(&self.stream).arg(&self.note);
        script.arg(self.length).arg(&self.told).arg(self.life).arg(&self.fields).ignore();
    }
}
