//! The text form in which Prometheus reads metrics (version 0.0.4): families with their help and type, and their samples.

use std::fmt::{Display, Write};

use atelier_inference::metrics::Histogram;

/// What a family's values do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// They only grow; the name ends in `_total`.
    Counter,
    /// They rise and fall.
    Gauge,
    /// They are counted by how large they are.
    Histogram,
}

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

/// One family of a page; its samples follow each other.
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: &'a str,
}

/// Labels with their values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    /// Begins a family. Help is one line without a final dot.
    pub(super) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // writing to a String cannot fail
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {word}");
        Family { page: self, name }
    }

    /// A family of one value that only grows.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help).sample(&[], value);
    }

    /// A family of one value that rises and falls.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// The whole page.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// One value.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// One histogram of seconds.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let mut count = 0;
        for (bound, below) in histogram.cumulative() {
            let bound = bound.map_or("+Inf".into(), |bound| bound.as_secs_f64().to_string());
            self.line("_bucket", labels, Some(&bound), below);
            count = below;
        }
        self.line("_sum", labels, None, histogram.sum().as_secs_f64());
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        let text = &mut self.page.text;
        let _ = write!(text, "{}{suffix}", self.name);
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut before = '{';
        for (name, value) in all {
            let _ = write!(text, "{before}{name}=\"{}\"", Escaped(value));
            before = ',';
        }
        let close = if before == ',' { "}" } else { "" };
        let _ = writeln!(text, "{close} {value}");
    }
}

/// A label's value between its quotes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_family_is_written_with_its_labels_escaped() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "what it is").sample(&[("x", "a\"b\\c\nd"), ("y", "")], 3);
        page.gauge("b", "another", 0.5);
        assert_eq!(
            page.finish(),
            "# HELP a_total what it is\n# TYPE a_total counter\na_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 3\n\
             # HELP b another\n# TYPE b gauge\nb 0.5\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_all_of_it_in_seconds() {
        let histogram = Histogram::long();
        histogram.record(Duration::from_millis(3));
        histogram.record(Duration::from_secs(600));
        let mut page = Page::default();
        page.family("a_seconds", Kind::Histogram, "how long").histogram(&[("route", "r")], &histogram);
        let text = page.finish();
        for line in [
            "a_seconds_bucket{route=\"r\",le=\"0.001\"} 0",
            "a_seconds_bucket{route=\"r\",le=\"0.005\"} 1",
            "a_seconds_bucket{route=\"r\",le=\"300\"} 1",
            "a_seconds_bucket{route=\"r\",le=\"+Inf\"} 2",
            "a_seconds_sum{route=\"r\"} 600.003",
            "a_seconds_count{route=\"r\"} 2",
        ] {
            assert!(text.lines().any(|given| given == line), "no {line} in\n{text}");
        }
    }
}
