//! Values in Redis, for hosts that share them. Every change is one script, which Redis runs whole: the value, the list of the
//! bucket's keys and what the owner is charged change together. What the owner keeps elsewhere, in objects, is known here and
//! handed along.
//!
//! All keys of an owner carry it in braces, so that a cluster keeps them on one node:
//! `atelier:{OWNER}:used`, `atelier:{OWNER}:keys:BUCKET` (a sorted set) and `atelier:{OWNER}:value:LENGTH:BUCKET:KEY`, LENGTH
//! being that of the bucket's name: so no bucket's key is another's.
//!
//! The connection is made when it is needed and made anew when it broke. A server that is gone or hangs is an error after
//! `PATIENCE`, for the operator; what happened to a change meanwhile nobody knows, and it was not acknowledged.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Client, RedisError, Script, ScriptInvocation};

use super::{Found, Keys, Place, Version};
use crate::Error;
use crate::storage::{MAX_PAGE, Owner};

/// For a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Values that others change while they are looked at are looked at again so often.
const LOOK_AGAIN: usize = 16;

/// Of all of these scripts: the first key is what the owner is charged, the second the bucket's list, then come the values; the
/// first two arguments are what the owner may keep and what it keeps elsewhere. An answer is a word and what belongs to it.
const COMMON: &str = "
local limit, elsewhere = tonumber(ARGV[1]), tonumber(ARGV[2])
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
local function cost(i, name)
  if redis.call('EXISTS', KEYS[i]) == 0 then return 0 end
  return #name + redis.call('STRLEN', KEYS[i])
end
local function fits(sum) return not (limit and sum > used and sum + elsewhere > limit) end
local function charge(sum) redis.call('SET', KEYS[1], string.format('%.0f', sum)) end
";

/// Names and values in turn.
const SET: &str = "
local sum = used
for i = 3, #KEYS do
  sum = sum - cost(i, ARGV[2 * i - 3]) + #ARGV[2 * i - 3] + #ARGV[2 * i - 2]
end
if not fits(sum) then return {'full', tostring(used + elsewhere)} end
for i = 3, #KEYS do
  redis.call('SET', KEYS[i], ARGV[2 * i - 2])
  redis.call('ZADD', KEYS[2], 0, ARGV[2 * i - 3])
end
charge(sum)
return {'set', ''}
";

/// Names.
const DELETE: &str = "
local sum = used
for i = 3, #KEYS do
  sum = sum - cost(i, ARGV[i])
  redis.call('DEL', KEYS[i])
  redis.call('ZREM', KEYS[2], ARGV[i])
end
charge(sum)
return {'set', ''}
";

/// The name, and how much more.
const ADD: &str = "
local before, old = cost(3, ARGV[3]), redis.call('GET', KEYS[3])
local added = redis.pcall('INCRBY', KEYS[3], ARGV[4])
if type(added) == 'table' then return {'number', ''} end
local sum = used - before + cost(3, ARGV[3])
if not fits(sum) then
  if old then redis.call('SET', KEYS[3], old) else redis.call('DEL', KEYS[3]) end
  return {'full', tostring(used + elsewhere)}
end
redis.call('ZADD', KEYS[2], 0, ARGV[3])
charge(sum)
return {'set', redis.call('GET', KEYS[3])}
";

/// The name, the value, and what is there, if anything is.
const SWAP: &str = "
local old = redis.call('GET', KEYS[3])
if (old or '') ~= (ARGV[5] or '') or (old == false) ~= (ARGV[5] == nil) then return {'other', ''} end
local sum = used - cost(3, ARGV[3]) + #ARGV[3] + #ARGV[4]
if not fits(sum) then return {'full', tostring(used + elsewhere)} end
redis.call('SET', KEYS[3], ARGV[4])
redis.call('ZADD', KEYS[2], 0, ARGV[3])
charge(sum)
return {'set', ''}
";

/// Only values, and the most that they may have together.
const GET: &str = "
local sum = 0
for i = 1, #KEYS do sum = sum + redis.call('STRLEN', KEYS[i]) end
if sum > tonumber(ARGV[1]) then return false end
return redis.call('MGET', unpack(KEYS))
";

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    let changing = |body: &str| Script::new(&[COMMON, body].concat());
    Scripts {
        set: changing(SET),
        delete: changing(DELETE),
        add: changing(ADD),
        swap: changing(SWAP),
        get: Script::new(GET),
    }
});

struct Scripts {
    set: Script,
    delete: Script,
    add: Script,
    swap: Script,
    get: Script,
}

/// A server, connected or not.
#[derive(Clone)]
pub(in crate::storage) struct Redis(ConnectionManager);

impl Redis {
    /// Reads the address. Needs no server yet, but a runtime of tokio.
    pub(in crate::storage) fn open(url: &str) -> Result<Self, Error> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1);
        let opened =
            Client::open(url).and_then(|client| ConnectionManager::new_lazy_with_config(client, config));
        opened.map(Self).map_err(failed)
    }

    /// What an owner keeps in values.
    pub(in crate::storage) async fn used(&self, owner: &Owner) -> Result<u64, Error> {
        let used: Option<u64> = self.0.clone().get(used_key(owner)).await.map_err(failed)?;
        Ok(used.unwrap_or(0))
    }

    pub(super) async fn get_many(
        &self,
        place: &Place,
        keys: Vec<String>,
        limit: u64,
    ) -> Result<Vec<Found>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut script = SCRIPTS.get.prepare_invoke();
        for key in &keys {
            script.key(value_key(place, key));
        }
        let values: Option<Vec<Option<Vec<u8>>>> =
            script.arg(limit).invoke_async(&mut self.0.clone()).await.map_err(failed)?;
        let values = values.ok_or_else(|| Error::values_over(limit))?;
        Ok(keys.into_iter().zip(values).map(|(key, value)| Some((key, value?))).collect())
    }

    pub(super) async fn exists(&self, place: &Place, key: &str) -> Result<bool, Error> {
        self.0.clone().exists(value_key(place, key)).await.map_err(failed)
    }

    pub(super) async fn keys(&self, place: &Place, after: Option<String>) -> Result<Keys, Error> {
        let from = after.map_or("-".to_owned(), |after| format!("({after}"));
        let mut connection = self.0.clone();
        let listed = connection.zrangebylex_limit(list_key(place), from, "+", 0, MAX_PAGE as isize + 1);
        let mut keys: Vec<String> = listed.await.map_err(failed)?;
        let is_last = keys.len() <= MAX_PAGE;
        keys.truncate(MAX_PAGE);
        Ok(Keys { next: keys.last().filter(|_| !is_last).cloned(), keys })
    }

    pub(super) async fn set_many(
        &self,
        place: &Place,
        pairs: BTreeMap<String, Vec<u8>>,
        elsewhere: u64,
    ) -> Result<(), Error> {
        let mut script = prepared(&SCRIPTS.set, place, elsewhere);
        for (key, value) in pairs {
            script.key(value_key(place, &key)).arg(key).arg(value);
        }
        self.changed(&script, place).await.map(drop)
    }

    pub(super) async fn delete_many(&self, place: &Place, keys: &[String]) -> Result<(), Error> {
        let mut script = prepared(&SCRIPTS.delete, place, 0);
        for key in keys {
            script.key(value_key(place, key)).arg(key);
        }
        self.changed(&script, place).await.map(drop)
    }

    pub(super) async fn increment(
        &self,
        place: &Place,
        key: &str,
        delta: i64,
        elsewhere: u64,
    ) -> Result<i64, Error> {
        let mut script = prepared(&SCRIPTS.add, place, elsewhere);
        script.key(value_key(place, key)).arg(key).arg(delta);
        let no_number = || Error::NoNumber(key.to_owned());
        match self.changed(&script, place).await? {
            Changed::Set(sum) => sum.parse().map_err(|_| no_number()),
            Changed::Other => Err(no_number()),
        }
    }

    pub(super) async fn swap(
        &self,
        place: &Place,
        (key, value): &(String, Vec<u8>),
        expected: Version,
        elsewhere: u64,
    ) -> Result<Result<(), Version>, Error> {
        for _ in 0..LOOK_AGAIN {
            let path = value_key(place, key);
            let there: Option<Vec<u8>> = self.0.clone().get(&path).await.map_err(failed)?;
            let found = Version::of(there.as_deref());
            if found != expected {
                return Ok(Err(found));
            }
            let mut script = prepared(&SCRIPTS.swap, place, elsewhere);
            script.key(path).arg(key).arg(value.as_slice());
            if let Some(there) = there {
                script.arg(there);
            }
            if let Changed::Set(_) = self.changed(&script, place).await? {
                return Ok(Ok(()));
            }
        }
        Err(Error::Remote("others change the value without end".into()))
    }

    async fn changed(&self, script: &ScriptInvocation<'_>, place: &Place) -> Result<Changed, Error> {
        let (word, rest): (String, String) =
            script.invoke_async(&mut self.0.clone()).await.map_err(failed)?;
        match word.as_str() {
            "set" => Ok(Changed::Set(rest)),
            "full" => {
                let limit = place.owner.limit.unwrap_or(u64::MAX);
                Err(Error::Full { limit, used: rest.parse().unwrap_or(limit) })
            }
            _ => Ok(Changed::Other),
        }
    }
}

/// What came of a change that there was room for.
enum Changed {
    Set(String),
    /// The value is not what it should have been.
    Other,
}

fn prepared<'a>(script: &'a Script, place: &Place, elsewhere: u64) -> ScriptInvocation<'a> {
    let limit = place.owner.limit.map_or(String::new(), |limit| limit.to_string());
    let mut script = script.prepare_invoke();
    script.key(used_key(&place.owner)).key(list_key(place)).arg(limit).arg(elsewhere);
    script
}

fn used_key(owner: &Owner) -> String {
    format!("atelier:{{{}}}:used", owner.id)
}

fn list_key(place: &Place) -> String {
    format!("atelier:{{{}}}:keys:{}", place.owner.id, place.name)
}

fn value_key(place: &Place, key: &str) -> String {
    let Place { owner, name } = place;
    format!("atelier:{{{}}}:value:{}:{name}:{key}", owner.id, name.len())
}

fn failed(error: RedisError) -> Error {
    Error::Remote(error.to_string())
}
