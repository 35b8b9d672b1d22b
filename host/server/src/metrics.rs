//! Counters of the edge and the text in which Prometheus reads all counters. Counting is an atomic addition; names,
//! labels and units are decided here, once. A label's values come from the manifest only, so there are never many.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

/// Upper bounds of the histogram's buckets, in milliseconds: from a hello to a slow picture.
const BUCKETS_MS: [u64; 12] = [1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000];

/// How a route's answers went.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// By the status's first digit.
    classes: [AtomicU64; 6],
    /// One more than the bounds: the last takes the rest.
    buckets: [AtomicU64; BUCKETS_MS.len() + 1],
    micros: AtomicU64,
}

impl Traffic {
    /// Counts one answer, when it is over.
    pub(crate) fn count(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).min(self.classes.len() - 1);
        let bucket = BUCKETS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        self.buckets[bucket.unwrap_or(BUCKETS_MS.len())].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    /// Answers so far.
    pub(crate) fn total(&self) -> u64 {
        self.classes.iter().map(load).sum()
    }
}

/// A page of Prometheus text.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
}

/// Whether a value only grows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// It does.
    Counter,
    /// It does not.
    Gauge,
}

impl Page {
    /// One metric with its samples: labels, such as `{route="a"}` or nothing, and values.
    pub(crate) fn metric(&mut self, name: &str, kind: Kind, help: &str, samples: &[(String, u64)]) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head(name, kind, help);
        for (labels, value) in samples {
            self.sample(name, labels, value);
        }
    }

    /// A metric without labels.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: u64) {
        self.metric(name, kind, help, &[(String::new(), value)]);
    }

    /// The answers of every route, by status class and as a histogram of seconds.
    pub(crate) fn traffic(&mut self, routes: &[(&str, &Traffic)]) {
        self.head("atelier_http_responses_total", "counter", "answers by route and status class");
        for (route, traffic) in routes {
            for (class, count) in traffic.classes.iter().enumerate().skip(1) {
                let labels = format!("{{route=\"{}\",status=\"{class}xx\"}}", escaped(route));
                self.sample("atelier_http_responses_total", &labels, load(count));
            }
        }
        let name = "atelier_http_response_seconds";
        self.head(name, "histogram", "seconds from a request's head to the end of its answer");
        for (route, traffic) in routes {
            self.histogram(name, &escaped(route), traffic);
        }
    }

    /// The whole page.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn histogram(&mut self, name: &str, route: &str, traffic: &Traffic) {
        let mut below = 0;
        let bounds = BUCKETS_MS.iter().map(|bound| (*bound as f64 / 1_000.0).to_string());
        for (bucket, bound) in traffic.buckets.iter().zip(bounds.chain(["+Inf".into()])) {
            below += load(bucket);
            self.sample(&format!("{name}_bucket"), &format!("{{route=\"{route}\",le=\"{bound}\"}}"), below);
        }
        let labels = format!("{{route=\"{route}\"}}");
        self.sample(&format!("{name}_sum"), &labels, load(&traffic.micros) as f64 / 1e6);
        self.sample(&format!("{name}_count"), &labels, below);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // writing to a String cannot fail
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }
}

/// A label's value between its quotes.
pub(crate) fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_answer_in_all_buckets_that_hold_it() {
        let traffic = Traffic::default();
        traffic.count(StatusCode::OK, Duration::from_millis(3));
        traffic.count(StatusCode::BAD_GATEWAY, Duration::from_secs(600));
        let mut page = Page::default();
        page.traffic(&[("a\"b", &traffic)]);
        let text = page.finish();
        for line in [
            "atelier_http_responses_total{route=\"a\\\"b\",status=\"5xx\"} 1",
            "atelier_http_response_seconds_bucket{route=\"a\\\"b\",le=\"0.001\"} 0",
            "atelier_http_response_seconds_bucket{route=\"a\\\"b\",le=\"0.005\"} 1",
            "atelier_http_response_seconds_bucket{route=\"a\\\"b\",le=\"300\"} 1",
            "atelier_http_response_seconds_bucket{route=\"a\\\"b\",le=\"+Inf\"} 2",
            "atelier_http_response_seconds_sum{route=\"a\\\"b\"} 600.003",
            "atelier_http_response_seconds_count{route=\"a\\\"b\"} 2",
        ] {
            assert!(text.lines().any(|given| given == line), "no {line} in\n{text}");
        }
    }
}
