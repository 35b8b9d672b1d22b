//! Who changed what, when, and how it went: one JSON line for each change that somebody with the operators' key asked for,
//! refused ones included. Lines are never edited; the log is bounded by `store.audit-bytes` and loses its oldest quarter.

use std::sync::Arc;

use atelier_store::Journal;
use serde::Serialize;
use serde_json::Value;

use crate::vault::{Vault, VaultError};
use crate::versions::{apart, now_ms};

/// The file, in `store.data-dir`.
const FILE: &str = "audit.jsonl";
/// Longest target and message, so that a line has a bound.
const MAX_TEXT_CHARS: usize = 512;

/// The log.
pub(crate) struct Audit {
    vault: Arc<Vault>,
    bytes: u64,
    /// Held while a line is written.
    turn: tokio::sync::Mutex<()>,
}

/// One line.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    /// Milliseconds since 1970.
    pub(super) at_ms: u64,
    /// The key's name.
    pub(super) by: String,
    /// From where.
    pub(super) peer: String,
    /// The operation's id, as in the OpenAPI document.
    pub(super) operation: &'static str,
    /// Path and query.
    pub(super) target: String,
    /// The answer's status.
    pub(super) status: u16,
    /// What was wrong, if something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Entry {
    pub(super) fn new(by: &str, peer: String, operation: &'static str, target: &str) -> Self {
        let (at_ms, by, target) = (now_ms(), by.to_owned(), cut(target));
        Self { at_ms, by, peer, operation, target, status: 0, error: None }
    }

    pub(super) fn ended(self, status: u16, error: Option<String>) -> Self {
        Self { status, error: error.as_deref().map(cut), ..self }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

impl Audit {
    pub(crate) fn new(vault: Arc<Vault>, bytes: u64) -> Self {
        Self { vault, bytes, turn: tokio::sync::Mutex::default() }
    }

    /// Makes sure that changes can be noted: what cannot be noted does not happen.
    pub(super) async fn claim(&self) -> Result<(), VaultError> {
        apart(&self.vault, |vault| vault.claim()).await
    }

    /// Notes a change that has happened or was refused.
    pub(super) async fn note(&self, entry: Entry) {
        let _turn = self.turn.lock().await;
        let Entry { by, operation, target, status, .. } = &entry;
        tracing::info!(by, operation, target, status, "an operator's change");
        let line = serde_json::to_string(&entry).unwrap_or_default();
        let bytes = self.bytes;
        let written = apart(&self.vault, move |vault| Ok(journal(vault, bytes)?.append(&line)?)).await;
        if let Err(error) = written {
            tracing::error!("the audit log lacks a line: {error}");
        }
    }

    /// The newest entries, the newest first. A line that a crash cut short is left out.
    pub(super) async fn newest(&self, limit: usize) -> Result<Vec<Value>, VaultError> {
        let bytes = self.bytes;
        let read = move |vault: &Vault| match vault.is_used() {
            true => Ok(journal(vault, bytes)?.newest(limit)?),
            false => Ok(Vec::new()),
        };
        let lines = apart(&self.vault, read).await?;
        Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

fn journal(vault: &Vault, bytes: u64) -> Result<Journal, VaultError> {
    Ok(Journal::new(vault.dir()?.join(FILE), bytes))
}
