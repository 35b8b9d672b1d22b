//! `atelier models catalog`: the public models, how each is meant to be used, what it would take to fetch and what of it
//! is here. Asks no hub: it looks into the cache.

use serde_json::{Value, json};

use crate::catalog::{self, Entry};
use crate::config::HubRepo;
use crate::hub::{Cached, Hub};
use crate::terminal::{Style, Terminal};

/// An entry, and of each of its repositories what is here.
struct Row {
    entry: &'static Entry,
    cached: Vec<Option<Cached>>,
}

impl Row {
    async fn new(hub: &Hub, entry: &'static Entry) -> Row {
        let mut cached = Vec::new();
        for wanted in entry.wanted() {
            cached.push(hub.cached(&wanted).await);
        }
        Row { entry, cached }
    }

    fn is_here(&self) -> bool {
        self.cached.iter().all(Option::is_some)
    }

    fn bytes_here(&self) -> u64 {
        self.cached.iter().flatten().map(|cached| cached.bytes).sum()
    }

    fn json(&self) -> Value {
        let Entry { name, about, licence, gigabytes, usage, .. } = self.entry;
        let repository = |(repo, cached): (catalog::Repo, &Option<Cached>)| {
            let folder = cached.as_ref().map(|cached| &cached.folder);
            json!({ "repository": HubRepo::from(repo).to_string(), "gated": repo.is_gated, "folder": folder })
        };
        json!({
            "name": name,
            "about": about,
            "licence": licence,
            "gigabytes": gigabytes,
            "size": { "width": usage.size.0, "height": usage.size.1 },
            "steps": usage.steps,
            "guidance": usage.guidance,
            "image_guidance": usage.image_guidance,
            "schedule": usage.schedule,
            "available": self.is_here(),
            "bytes_here": self.bytes_here(),
            "repositories": self.entry.repos().zip(&self.cached).map(repository).collect::<Vec<_>>(),
        })
    }

    /// In the columns of the heading.
    fn line(&self, terminal: &Terminal) -> String {
        let Entry { name, licence, gigabytes, usage, .. } = self.entry;
        let name = terminal.paint(Style::Strong, format_args!("{name:<25}"));
        let size = format!("{}x{}", usage.size.0, usage.size.1);
        let how = format!("{size:>9}  {:>5}  {:>8.1}  {:<15}", usage.steps, usage.guidance, usage.schedule);
        let here = match (self.is_here(), self.bytes_here()) {
            (true, bytes) => terminal.paint(Style::Good, format_args!("{:.1} GB", gigabytes_of(bytes))),
            (false, 0) if self.entry.is_gated() => terminal.paint(Style::Faint, "no; asks for a token"),
            (false, 0) => terminal.paint(Style::Faint, "no"),
            (false, bytes) => format!("{:.1} GB of it", gigabytes_of(bytes)),
        };
        format!("{name}  {how}  {gigabytes:>5.1} GB  {licence:<21}  {here}")
    }
}

fn gigabytes_of(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

pub(super) async fn list(terminal: &Terminal) -> anyhow::Result<()> {
    let hub = Hub::of_process()?;
    let mut rows = Vec::new();
    for entry in catalog::entries() {
        rows.push(Row::new(&hub, entry).await);
    }
    if terminal.json {
        terminal.json(&rows.iter().map(Row::json).collect::<Vec<_>>());
        return Ok(());
    }
    let heading = format!(
        "{:<25}  {:>9}  {:>5}  {:>8}  {:<15}  {:>8}  {:<21}  here",
        "name", "size", "steps", "guidance", "schedule", "download", "licence"
    );
    terminal.line(terminal.paint(Style::Faint, heading));
    for row in &rows {
        terminal.line(row.line(terminal));
        terminal.line(terminal.paint(Style::Faint, format_args!("  {}", row.entry.about)));
    }
    Ok(())
}

/// What somebody who just pulled an entry wants to know next.
pub(super) fn explain(terminal: &Terminal, entry: &Entry) {
    terminal.line(format_args!("{} is whole: {}", entry.name, entry.about));
    terminal.field("licence", entry.licence);
    terminal.field("serve it", format_args!("[[model]] with id = \"{}\" in the manifest", entry.name));
}
