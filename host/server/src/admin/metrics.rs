//! The page that Prometheus reads.

use super::View;
use crate::metrics::Sources;

impl View {
    pub(super) fn metrics(&self) -> String {
        let sources = Sources {
            counts: &self.live.counts,
            table: &self.live.table(),
            scheduler: &self.scheduler,
            runtime: &self.runtime,
            reports: &self.reports,
            peers: &self.peers,
            channels: &self.channels,
            spans: self.spans.as_deref(),
            uptime: self.started.elapsed(),
        };
        sources.page()
    }
}
