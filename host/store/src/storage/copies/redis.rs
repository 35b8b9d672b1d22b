//! A Redis server that jobs are copied to: hashes that are replaced whole, with their time to live, and the channel and the stream in
//! which that is told. One connection, made when it is needed and thrown away with the first error, so that nothing waits on a
//! broken one.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, Pipeline, RedisError};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::config::RedisCopy;
use super::service::no_answer;
use super::stream::Entry;

/// For a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server, connected or not.
pub(super) struct Redis {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// A hash as it is to be.
#[derive(Debug)]
pub(super) struct Hash {
    pub(super) key: String,
    /// No fields: it is removed.
    pub(super) fields: Vec<(String, String)>,
    pub(super) ttl: Duration,
    pub(super) channel: Option<String>,
    pub(super) entry: Option<Entry>,
}

impl Redis {
    /// Reads the configuration; the text says what is wrong with it, and repeats no address.
    pub(super) fn open(config: &RedisCopy) -> Result<Self, String> {
        let wrong = |_: RedisError| "`to` is no address of a Redis server, such as redis://127.0.0.1:6379/0";
        let mut info = config.url.0.as_str().into_connection_info().map_err(wrong)?;
        if let Some(password) = &config.password {
            let settings = info.redis_settings().clone().set_password(&password.0);
            info = info.set_redis_settings(settings);
        }
        let client = Client::open(info).map_err(wrong)?;
        Ok(Self { client, connection: Mutex::default() })
    }

    /// Writes hashes, all of them or none.
    pub(super) async fn write(&self, hashes: &[Hash]) -> Result<(), String> {
        let mut changes = redis::pipe();
        changes.atomic();
        hashes.iter().for_each(|hash| hash.add_to(&mut changes));
        self.run(&changes).await
    }

    /// Whether it answers, and would take a command.
    pub(super) async fn ping(&self) -> Result<(), String> {
        let mut ping = redis::pipe();
        ping.cmd("PING").ignore();
        self.run(&ping).await
    }

    async fn run(&self, commands: &Pipeline) -> Result<(), String> {
        let mut connection = self.connection().await?;
        let answer = timeout(PATIENCE, commands.exec_async(&mut connection)).await;
        let reason = match answer {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => reason(&error, PATIENCE),
            Err(_) => no_answer(PATIENCE),
        };
        *self.connection.lock().await = None;
        Err(reason)
    }

    async fn connection(&self) -> Result<MultiplexedConnection, String> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
        let made = timeout(CONNECT, self.client.get_multiplexed_async_connection_with_config(&config)).await;
        let made = made.map_err(|_| no_answer(CONNECT))?.map_err(|error| reason(&error, CONNECT))?;
        *connection = Some(made.clone());
        Ok(made)
    }
}

impl Hash {
    /// In seconds; of none where it is removed.
    pub(super) fn life(&self) -> u64 {
        // a life of no seconds would be none at all
        if self.fields.is_empty() { 0 } else { self.ttl.as_secs().max(1) }
    }

    fn add_to(&self, changes: &mut Pipeline) {
        // fields that are no more would stay otherwise
        changes.cmd("DEL").arg(&self.key).ignore();
        if !self.fields.is_empty() {
            changes.cmd("HSET").arg(&self.key).arg(&self.fields).ignore();
            changes.cmd("EXPIRE").arg(&self.key).arg(self.life()).ignore();
        }
        if let Some(entry) = &self.entry {
            entry.add_to(changes);
        }
        if let Some(channel) = &self.channel {
            changes.cmd("PUBLISH").arg(channel).arg(&self.key).ignore();
        }
    }
}

/// In words that name no address: what went wrong, or the code of the server's answer.
fn reason(error: &RedisError, limit: Duration) -> String {
    if error.is_timeout() {
        return no_answer(limit);
    }
    if error.is_io_error() || error.is_connection_dropped() {
        return "no connection".into();
    }
    let is_code = |code: &&str| code.len() <= 32 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    // of several commands, the first that failed says why
    let refused = error.clone().into_server_errors();
    let first = refused.as_deref().and_then(<[_]>::first).map(|(_, refused)| refused.code());
    match first.or(error.code()).filter(is_code) {
        Some(code) => format!("it answers {code}"),
        None => error.category().to_owned(),
    }
}
