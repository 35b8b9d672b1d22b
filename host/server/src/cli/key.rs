//! `atelier tenant key new` and `atelier admin key new`: makes a key, shows it this once, and says what goes into the
//! manifest instead. Writes nothing: the manifest is the operator's. With `--apply`, a running host makes the key and
//! keeps its hash itself; `atelier tenant key revoke` and `atelier tenant list` ask a running host as well.

use atelier_inference::TenantId;
use serde_json::{Value, json};

use super::Usage;
use super::remote::{Remote, list, text};
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
    /// List a running host's tenants, with the names of their keys.
    List {
        #[command(flatten)]
        remote: Remote,
    },
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
        /// Make it on a running host, where it opens at once and without the manifest.
        #[arg(long)]
        apply: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Revoke a key on a running host: it opens nothing from the next request on.
    Revoke {
        /// The tenant's id in the manifest.
        #[arg(value_parser = tenant_id)]
        tenant: TenantId,
        /// What the log calls the key.
        key: String,
        #[command(flatten)]
        remote: Remote,
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
        /// What the audit log calls who has it, where there are several.
        #[arg(long)]
        name: Option<String>,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
}

fn tenant_id(text: &str) -> Result<TenantId, &'static str> {
    TenantId::new(text).ok_or("wants 1 to 64 of a-z, 0-9, `-` and `_`")
}

pub(super) async fn tenant(Tenant { verb }: Tenant) -> anyhow::Result<()> {
    match verb {
        TenantVerb::List { remote } => tenants(&remote.terminal(), &remote.get("/v1/tenants").await?),
        TenantVerb::Key(TenantKey::New { tenant, name, apply: true, remote }) => {
            let query = name.map(|name| format!("?name={name}")).unwrap_or_default();
            let made = remote.post(&format!("/v1/tenants/{tenant}/keys{query}")).await?;
            minted(&remote.terminal(), &made);
        }
        TenantVerb::Key(TenantKey::New { tenant, name, apply: false, remote }) => {
            return new(&remote.terminal(), &tenant, name);
        }
        TenantVerb::Key(TenantKey::Revoke { tenant, key, remote }) => {
            let answer = remote.delete(&format!("/v1/tenants/{tenant}/keys/{key}")).await?;
            let terminal = remote.terminal();
            match terminal.json {
                true => terminal.json(&answer),
                false => terminal.line(format_args!("{} is revoked", terminal.paint(Style::Strong, key))),
            }
        }
    }
    Ok(())
}

fn tenants(terminal: &Terminal, answer: &Value) {
    if terminal.json {
        return terminal.json(answer);
    }
    for tenant in list(answer, "tenants") {
        let id = terminal.paint(Style::Strong, text(tenant, "id"));
        let keys: Vec<&str> = list(tenant, "keys").iter().filter_map(Value::as_str).collect();
        let keys = if keys.is_empty() { "no keys".into() } else { keys.join(", ") };
        terminal.line(format_args!("{id}  share {}  {keys}", tenant["share"]));
    }
}

/// A key that a host has made.
fn minted(terminal: &Terminal, made: &Value) {
    if terminal.json {
        return terminal.json(made);
    }
    terminal.field("key", terminal.paint(Style::Strong, text(made, "key")));
    terminal.field("", terminal.paint(Style::Faint, "shown this once; the host keeps its hash only"));
    terminal.field("name", text(made, "name"));
    terminal.field("tenant", text(made, "tenant"));
}

fn new(terminal: &Terminal, tenant: &TenantId, name: Option<String>) -> anyhow::Result<()> {
    let key = Key::mint(tenant.as_str());
    let hash = key.hash().to_string();
    let name = checked(name.unwrap_or_else(|| format!("key-{}", &hash[..NAME_CHARS])))?;
    let line = manifest_line(&name, &key);
    let place = format!("`keys` of the [[tenant]] `{tenant}`");
    show(terminal, &key, &line, &place);
    Ok(())
}

pub(super) fn admin(Admin { verb }: Admin) -> anyhow::Result<()> {
    let AdminVerb::Key(AdminKey::New { name, json }) = verb;
    let (key, terminal) = (Key::mint("admin"), Terminal::of_process(json));
    match name {
        Some(name) => {
            let line = manifest_line(&checked(name)?, &key);
            show(&terminal, &key, &line, "`admin-keys` of [server]");
        }
        None => show(&terminal, &key, &format!("admin-key-hash = \"{}\"", key.hash()), "[server]"),
    }
    Ok(())
}

fn checked(name: String) -> Result<String, Usage> {
    let wrong = || Usage(format!("--name wants up to 64 letters, digits, `-`, `_` and `.`, not `{name}`"));
    if crate::config::is_name(&name) { Ok(name) } else { Err(wrong()) }
}

fn manifest_line(name: &str, key: &Key) -> String {
    format!("{{ name = \"{name}\", hash = \"{}\" }}", key.hash())
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
