//! `atelier tenant key new` and `atelier admin key new`: makes a key, shows it this once, and says what goes into the
//! manifest instead. Writes nothing: the manifest is the operator's.

use atelier_inference::TenantId;
use serde_json::json;

use super::Usage;
use crate::keys::Key;
use crate::terminal::{Style, Terminal};

/// Of a new key's hash, as much goes into its name.
const NAME_CHARS: usize = 6;

#[derive(Debug, clap::Args)]
pub(super) struct Tenant {
    #[command(subcommand)]
    verb: TenantVerb,
}

#[derive(Debug, clap::Subcommand)]
enum TenantVerb {
    /// Keys that act for a tenant.
    #[command(subcommand)]
    Key(TenantKey),
}

#[derive(Debug, clap::Subcommand)]
enum TenantKey {
    /// Make a key and show it, once.
    New {
        /// The tenant's id in the manifest.
        #[arg(value_parser = tenant_id)]
        tenant: TenantId,
        /// What the log calls the key; made up when left out.
        #[arg(long)]
        name: Option<String>,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Admin {
    #[command(subcommand)]
    verb: AdminVerb,
}

#[derive(Debug, clap::Subcommand)]
enum AdminVerb {
    /// The key of the admin address.
    #[command(subcommand)]
    Key(AdminKey),
}

#[derive(Debug, clap::Subcommand)]
enum AdminKey {
    /// Make a key and show it, once.
    New {
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
}

fn tenant_id(text: &str) -> Result<TenantId, &'static str> {
    TenantId::new(text).ok_or("wants 1 to 64 of a-z, 0-9, `-` and `_`")
}

pub(super) fn tenant(Tenant { verb }: Tenant) -> anyhow::Result<()> {
    let TenantVerb::Key(TenantKey::New { tenant, name, json }) = verb;
    let key = Key::mint(tenant.as_str());
    let hash = key.hash().to_string();
    let name = name.unwrap_or_else(|| format!("key-{}", &hash[..NAME_CHARS]));
    if !crate::config::is_name(&name) {
        let text = format!("--name wants up to 64 letters, digits, `-`, `_` and `.`, not `{name}`");
        return Err(Usage(text).into());
    }
    let line = format!("{{ name = \"{name}\", hash = \"{hash}\" }}");
    let place = format!("`keys` of the [[tenant]] `{tenant}`");
    show(&Terminal::of_process(json), &key, &line, &place);
    Ok(())
}

pub(super) fn admin(Admin { verb }: Admin) {
    let AdminVerb::Key(AdminKey::New { json }) = verb;
    let key = Key::mint("admin");
    let line = format!("admin-key-hash = \"{}\"", key.hash());
    show(&Terminal::of_process(json), &key, &line, "[server]");
}

fn show(terminal: &Terminal, key: &Key, line: &str, place: &str) {
    if terminal.json {
        let hash = key.hash().to_string();
        return terminal.json(&json!({ "key": key.reveal(), "hash": hash, "manifest": line }));
    }
    terminal.field("key", terminal.paint(Style::Strong, key.reveal()));
    terminal.field("", terminal.paint(Style::Faint, "shown this once; the host keeps its hash only"));
    terminal.field("manifest", line);
    terminal.field("", terminal.paint(Style::Faint, format_args!("goes into {place}")));
}
