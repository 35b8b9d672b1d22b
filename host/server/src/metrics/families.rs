//! Every series that there is. A function writes the families of one thing; each family is written once, with all its
//! samples, as the form demands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use atelier_inference::metrics::{Histogram, Kinds, ModelMetrics, OTHER};
use atelier_inference::{Counters, ModelId, ModelState, Scheduler, TenantsStatus};
use atelier_runtime::{ComponentMetrics, Consumption, DoorStatus, Runtime};

use super::page::{Family, Kind, Page};
use super::{
    Counts, RouteCounts, TenantCounts, Traffic, channels, copies, jobs, process, providers, storage,
};
use crate::channels::Clients;
use crate::http::Peers;
use crate::live::Table;
use crate::reload::Reports;
use crate::telemetry::{SpanQueue, lost_lines};
use crate::tenants::Usage;

/// Status classes by their first digit.
const CLASSES: [&str; 6] = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What the page is made of.
pub(crate) struct Sources<'a> {
    pub(crate) counts: &'a Counts,
    pub(crate) table: &'a Table,
    pub(crate) scheduler: &'a Scheduler,
    pub(crate) runtime: &'a Runtime,
    pub(crate) reports: &'a Reports,
    pub(crate) peers: &'a Peers,
    pub(crate) channels: &'a Clients,
    /// Spans on their way to a collector, if there is one.
    pub(crate) spans: Option<&'a SpanQueue>,
    pub(crate) uptime: Duration,
}

/// Names with what is counted of each.
type Named<T> = [(Arc<str>, Arc<T>)];

impl Sources<'_> {
    /// The whole page.
    pub(crate) fn page(&self) -> String {
        let mut page = Page::default();
        self.edge(&mut page);
        routes(&mut page, &self.counts.routes.all());
        self.versions(&mut page);
        components(&mut page, &self.runtime.components());
        self.tenants(&mut page);
        models(&mut page, self.scheduler);
        self.queue(&mut page);
        self.memory(&mut page);
        self.runtime(&mut page);
        providers::write(&mut page, &self.runtime.providers());
        storage::write(&mut page, self.runtime.storage());
        jobs::write(&mut page, self.runtime.storage());
        copies::write(&mut page, self.runtime.storage());
        channels::write(&mut page, self.channels);
        self.loads(&mut page);
        self.telemetry(&mut page);
        process::write(&mut page, self.uptime);
        page.finish()
    }

    fn edge(&self, page: &mut Page) {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.family("atelier_build_info", Kind::Gauge, "the version that runs").sample(&version, 1);
        page.gauge("atelier_http_connections", "open connections of clients", self.peers.open());
        page.counter("atelier_http_connections_total", "connections that were taken", self.peers.accepted());
        page.counter(
            "atelier_http_connections_refused_total",
            "connections beyond server.max-connections-per-ip",
            self.peers.refused(),
        );
        let mut family = page.family(
            "atelier_http_refusals_total",
            Kind::Counter,
            "answers of the host instead of a handler, by the code that they carry",
        );
        for (code, count) in self.counts.refusals.all() {
            family.sample(&[("code", code)], count);
        }
    }

    /// What became of versions.
    fn versions(&self, page: &mut Page) {
        let routes = self.counts.routes.all();
        let help = "versions that took the place of the one that served before";
        let family = page.family("atelier_route_versions_promoted_total", Kind::Counter, help);
        each(family, "route", &routes, |counts| counts.promoted.get());
        let help = "versions that were taken back, by a failed trial or an operator";
        let family = page.family("atelier_route_versions_rolled_back_total", Kind::Counter, help);
        kinds(family, "route", &routes, |counts| &counts.rolled_back);
        let mut trials: BTreeMap<&str, u64> = BTreeMap::new();
        for slot in &self.table.slots {
            let is_tried = slot.deployment.as_ref().is_some_and(|deployed| deployed.trial.is_some());
            *trials.entry(self.route_label(&slot.route.name)).or_default() += u64::from(is_tried);
        }
        let help = "versions that serve and have not proven themselves yet";
        let mut family = page.family("atelier_route_trials", Kind::Gauge, help);
        for (route, running) in trials {
            family.sample(&[("route", route)], running);
        }
    }

    /// A route's name, or the one under which it is counted with others.
    fn route_label<'a>(&self, route: &'a str) -> &'a str {
        if self.counts.routes.has(route) { route } else { OTHER }
    }

    fn tenants(&self, page: &mut Page) {
        let tenants = self.counts.tenants.all();
        traffic(page, "atelier_tenant", "tenant", &tenants, |counts: &TenantCounts| &counts.traffic);
        consumption(page, "atelier_tenant", "tenant", &tenants, |counts| &counts.consumption);
        each(
            page.family("atelier_tenant_over_quota_total", Kind::Counter, "requests and jobs over a quota"),
            "tenant",
            &tenants,
            |counts| counts.over_quota.get(),
        );
        self.usage(page);
        self.jobs(page);
    }

    /// A tenant's name, or the one under which it is counted with others.
    fn tenant_label<'a>(&self, tenant: &'a str) -> &'a str {
        if self.counts.tenants.has(tenant) { tenant } else { OTHER }
    }

    fn usage(&self, page: &mut Page) {
        let mut usages: BTreeMap<&str, Vec<Usage>> = BTreeMap::new();
        for member in self.table.tenants.members() {
            usages.entry(self.tenant_label(member.tenant.id.as_str())).or_default().push(member.usage());
        }
        let mut gauge = |name, help, value: fn(&Usage) -> u64| {
            let mut family = page.family(name, Kind::Gauge, help);
            for (tenant, usages) in &usages {
                family.sample(&[("tenant", tenant)], usages.iter().map(value).sum::<u64>());
            }
        };
        gauge("atelier_tenant_in_flight", "requests whose answers are not complete", |usage| usage.in_flight);
        gauge("atelier_tenant_images_today", "pictures since midnight UTC", |usage| usage.images_today);
        gauge("atelier_tenant_pixel_steps_today", "pixels times steps since midnight UTC", |usage| {
            usage.pixel_steps_today
        });
        gauge("atelier_tenant_audio_seconds_today", "seconds of sound since midnight UTC", |usage| {
            usage.audio_seconds_today
        });
        gauge("atelier_tenant_tokens_today", "tokens read and written since midnight UTC", |usage| {
            usage.tokens_today
        });
    }

    /// What tenants had of the inference worker.
    fn jobs(&self, page: &mut Page) {
        let TenantsStatus { tenants, others } = self.scheduler.tenants();
        let mut counters: BTreeMap<&str, Vec<Counters>> = BTreeMap::new();
        for (tenant, status) in &tenants {
            counters.entry(self.tenant_label(tenant.as_str())).or_default().push(status.counters);
        }
        if others != Counters::default() {
            counters.entry(OTHER).or_default().push(others);
        }
        let sum = |tenant: &[Counters], value: fn(&Counters) -> u64| tenant.iter().map(value).sum::<u64>();
        let help = "jobs by how they ended, or were refused";
        let mut family = page.family("atelier_tenant_jobs_total", Kind::Counter, help);
        for (tenant, counters) in &counters {
            for (end, value) in ENDS {
                family.sample(&[("tenant", tenant), ("end", end)], sum(counters, value));
            }
        }
        let help = "time of the inference worker, loading of models included";
        let mut family = page.family("atelier_tenant_inference_seconds_total", Kind::Counter, help);
        for (tenant, counters) in &counters {
            let work: Duration = counters.iter().map(|counters| counters.work).sum();
            family.sample(&[("tenant", tenant)], work.as_secs_f64());
        }
        let help = "denoising steps done";
        let mut family = page.family("atelier_tenant_denoising_steps_total", Kind::Counter, help);
        for (tenant, counters) in &counters {
            family.sample(&[("tenant", tenant)], sum(counters, |counters| counters.steps));
        }
    }

    fn queue(&self, page: &mut Page) {
        let queue = self.scheduler.status();
        page.gauge("atelier_queue_waiting", "jobs that wait", queue.waiting);
        page.gauge("atelier_queue_running", "jobs that run", queue.running_jobs);
        page.gauge("atelier_queue_depth", "jobs that may wait (engine.queue-depth)", queue.depth);
        page.gauge("atelier_worker_alive", "whether the inference worker lives", u8::from(queue.alive));
        let mut family =
            page.family("atelier_jobs_total", Kind::Counter, "jobs by how they ended, or were refused");
        for (end, value) in ENDS {
            family.sample(&[("end", end)], value(&queue.counters));
        }
        page.counter(
            "atelier_inference_seconds_total",
            "time of the inference worker, loading of models included",
            queue.counters.work.as_secs_f64(),
        );
    }

    fn memory(&self, page: &mut Page) {
        let memory = self.scheduler.memory();
        page.gauge("atelier_memory_budget_bytes", "engine.memory-bytes", memory.budget);
        let mut family =
            page.family("atelier_memory_used_bytes", Kind::Gauge, "what is taken of the budget, and by what");
        family.sample(&[("purpose", "models")], memory.models);
        family.sample(&[("purpose", "runs")], memory.runs);
    }

    fn runtime(&self, page: &mut Page) {
        let doors = self.runtime.doors();
        let mut gauge = |name, help, value: fn(&DoorStatus) -> u32| {
            let mut family = page.family(name, Kind::Gauge, help);
            for door in &doors {
                family.sample(&[("door", door.name)], value(door));
            }
        };
        gauge("atelier_places", "who may be inside a door at a time", |door| door.places);
        gauge("atelier_places_held", "who is inside a door", |door| door.held);
        gauge("atelier_places_waiting", "who waits at a door", |door| door.waiting);
        let mut family =
            page.family("atelier_pool_used", Kind::Gauge, "what of the pool of instances is in use");
        for (kind, used) in self.runtime.pool() {
            family.sample(&[("kind", kind)], used);
        }
        let counts = self.runtime.metrics();
        for (name, help, value) in [
            (
                "atelier_reused_instances_total",
                "requests answered by an instance that had answered before",
                counts.reused,
            ),
            ("atelier_plugin_calls_total", "calls of plugins", counts.plugin_calls),
            ("atelier_plugin_failures_total", "calls of plugins that failed", counts.plugin_failures),
            ("atelier_decodes_total", "pictures and recordings decoded in the sandbox", counts.decodes),
            (
                "atelier_outbound_requests_total",
                "requests that guests wanted to send",
                counts.outbound_requests,
            ),
            ("atelier_outbound_refused_total", "those of them that were refused", counts.outbound_refused),
        ] {
            page.counter(name, help, value);
        }
    }

    /// What was lost of what the host tells.
    fn telemetry(&self, page: &mut Page) {
        let (crowded_out, unwritten) = lost_lines();
        let help = "log lines that were lost, for want of room or of a disk that takes them";
        let mut family = page.family("atelier_log_lines_lost_total", Kind::Counter, help);
        for (why, count) in [("no_room", crowded_out), ("not_written", unwritten)] {
            family.sample(&[("why", why)], count);
        }
        let Some(spans) = self.spans else { return };
        page.counter("atelier_spans_sent_total", "spans that the collector took", spans.delivered.get());
        let help = "spans that were lost, for want of room or of a collector that takes them";
        let mut family = page.family("atelier_spans_lost_total", Kind::Counter, help);
        for (why, counter) in [("no_room", &spans.crowded_out), ("not_taken", &spans.undelivered)] {
            family.sample(&[("why", why)], counter.get());
        }
    }

    /// Compiling, deploying and swapping.
    fn loads(&self, page: &mut Page) {
        let loads = self.runtime.load_times();
        let mut single = |name, help, histogram: &Histogram| {
            page.family(name, Kind::Histogram, help).histogram(&[], histogram);
        };
        single("atelier_compile_seconds", "compiling a component from scratch", &loads.compile);
        single("atelier_cache_load_seconds", "taking a compiled component from the cache", &loads.cached);
        single("atelier_deploy_seconds", "making a deployment, compiling included", &loads.deploy);
        single("atelier_reload_seconds", "from a change that is seen to the swap", self.reports.durations());
        let report = self.reports.now();
        page.counter("atelier_reloads_total", "changes taken up", report.reloads);
        page.counter("atelier_reload_failures_total", "changes that did not load", report.failures);
    }
}

/// How jobs end, and where that is counted.
type End = (&'static str, fn(&Counters) -> u64);

const ENDS: [End; 4] = [
    ("completed", |counters| counters.completed),
    ("failed", |counters| counters.failed),
    ("cancelled", |counters| counters.cancelled),
    ("refused", |counters| counters.refused),
];

fn routes(page: &mut Page, routes: &Named<RouteCounts>) {
    traffic(page, "atelier_http", "route", routes, |counts| &counts.traffic);
    each(
        page.family("atelier_route_in_flight", Kind::Gauge, "requests inside a route's component"),
        "route",
        routes,
        |counts| counts.guests.in_flight(),
    );
    let help = "waiting for an instance, of requests that got one";
    let mut family = page.family("atelier_route_admission_wait_seconds", Kind::Histogram, help);
    for (route, counts) in routes {
        family.histogram(&[("route", route)], &counts.guests.admission);
    }
    consumption(page, "atelier_route", "route", routes, |counts| &counts.guests.consumption);
    let help = "requests without an answer and answers that broke off, by the failure's code";
    let family = page.family("atelier_route_failures_total", Kind::Counter, help);
    kinds(family, "route", routes, |counts| &counts.guests.failures);
    let help = "what guests asked for and did not get";
    let family = page.family("atelier_route_denied_calls_total", Kind::Counter, help);
    kinds(family, "route", routes, |counts| &counts.guests.denied);
}

fn components(page: &mut Page, components: &Named<ComponentMetrics>) {
    let help = "the name of a component in the manifest, by the beginning of its digest";
    let mut family = page.family("atelier_component_info", Kind::Gauge, help);
    for (component, metrics) in components {
        if let Some(name) = metrics.name() {
            family.sample(&[("component", component), ("name", name)], 1);
        }
    }
    let help = "from an empty store to an instance that can be called";
    let mut family = page.family("atelier_component_instantiation_seconds", Kind::Histogram, help);
    for (component, metrics) in components {
        family.histogram(&[("component", component)], &metrics.instantiation);
    }
    consumption(page, "atelier_component", "component", components, |metrics| &metrics.consumption);
    let help = "instances that failed, by the failure's code";
    let family = page.family("atelier_component_failures_total", Kind::Counter, help);
    kinds(family, "component", components, |metrics| &metrics.failures);
}

fn models(page: &mut Page, scheduler: &Scheduler) {
    let models = scheduler.model_metrics();
    let is_named = |id: &ModelId| models.iter().any(|(name, _)| **name == *id.as_str());
    let mut family = page.family("atelier_model_loaded", Kind::Gauge, "whether the weights are in memory");
    for status in scheduler.models().into_iter().filter(|status| is_named(&status.id)) {
        family.sample(&[("model", status.id.as_str())], u8::from(status.state == ModelState::Loaded));
    }
    let help = "jobs that ran, by how they ended";
    let mut family = page.family("atelier_model_jobs_total", Kind::Counter, help);
    for (model, metrics) in &models {
        for (end, counter) in [
            ("completed", &metrics.completed),
            ("failed", &metrics.failed),
            ("cancelled", &metrics.cancelled),
        ] {
            family.sample(&[("model", model), ("end", end)], counter.get());
        }
    }
    let mut histograms = |name, help, of: fn(&ModelMetrics) -> &Histogram| {
        let mut family = page.family(name, Kind::Histogram, help);
        for (model, metrics) in &models {
            family.histogram(&[("model", model)], of(metrics));
        }
    };
    histograms("atelier_model_queue_wait_seconds", "from a job's submission to its turn", |m| &m.queue_wait);
    histograms("atelier_model_load_seconds", "loading the weights", |m| &m.load);
    histograms("atelier_model_step_seconds", "one denoising step of a batch", |m| &m.step);
    histograms("atelier_model_job_seconds", "from a job's turn to its end, on the worker", |m| &m.job);
}

/// Answers by status class, and how long they took.
fn traffic<T>(page: &mut Page, prefix: &str, label: &str, named: &Named<T>, of: fn(&T) -> &Traffic) {
    let name = format!("{prefix}_responses_total");
    let mut family = page.family(&name, Kind::Counter, "answers by status class");
    for (value, counts) in named {
        for (class, counter) in CLASSES.iter().zip(&of(counts).classes).skip(1) {
            family.sample(&[(label, value), ("status", class)], counter.get());
        }
    }
    let name = format!("{prefix}_request_duration_seconds");
    let help = "from a request's head to the end of its answer";
    let mut family = page.family(&name, Kind::Histogram, help);
    for (value, counts) in named {
        family.histogram(&[(label, value)], &of(counts).duration);
    }
}

/// CPU time and memory of guests.
fn consumption<T>(page: &mut Page, prefix: &str, label: &str, named: &Named<T>, of: fn(&T) -> &Consumption) {
    let name = format!("{prefix}_cpu_seconds_total");
    let family = page.family(&name, Kind::Counter, "time in which guests computed");
    each(family, label, named, |counts| of(counts).cpu().as_secs_f64());
    let name = format!("{prefix}_peak_memory_bytes");
    let family = page.family(&name, Kind::Gauge, "the most that one guest held in its linear memories");
    each(family, label, named, |counts| of(counts).peak_memory_bytes());
}

fn each<T, V: std::fmt::Display>(
    mut family: Family<'_>,
    label: &str,
    named: &Named<T>,
    value: impl Fn(&T) -> V,
) {
    for (name, counts) in named {
        family.sample(&[(label, name)], value(counts));
    }
}

fn kinds<T>(mut family: Family<'_>, label: &str, named: &Named<T>, of: fn(&T) -> &Kinds) {
    for (name, counts) in named {
        for (kind, count) in of(counts).all() {
            family.sample(&[(label, name), ("kind", kind)], count);
        }
    }
}
