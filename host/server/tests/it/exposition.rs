//! A strict reader of the text form of Prometheus (version 0.0.4): what `promtool check metrics` would refuse fails here,
//! with the line. https://prometheus.io/docs/instrumenting/exposition_formats

use std::collections::{BTreeMap, BTreeSet};

/// A page that was read.
pub(crate) struct Exposition {
    /// Type by family.
    types: BTreeMap<String, String>,
    /// Value by name and labels, in the order of their names.
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Exposition {
    /// Reads a page; whatever is wrong with it ends the test.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut page = Self { types: BTreeMap::new(), samples: BTreeMap::new() };
        let (mut family, mut finished) = (String::new(), BTreeSet::new());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                assert!(!help.trim().is_empty() && help.trim() == help, "{line}");
                assert!(finished.insert(name.to_owned()), "a second family {name}");
                let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
                let kind = kind.unwrap_or_else(|| panic!("no type follows {line}"));
                check_name(name, kind);
                page.types.insert(name.to_owned(), kind.to_owned());
                family = name.to_owned();
            } else {
                let (name, labels, value) = sample(line);
                assert!(page.belongs(&name, &family), "{line} is not of the family {family}");
                let before = page.samples.insert((name, labels), value);
                assert!(before.is_none(), "a second sample: {line}");
            }
        }
        page.check_histograms();
        page
    }

    /// The value of a sample, whose labels are all of these.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// Every value that a label has, over all samples.
    pub(crate) fn values_of(&self, label: &str) -> BTreeSet<&str> {
        self.samples.keys().filter_map(|(_, labels)| labels.get(label)).map(String::as_str).collect()
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    pub(crate) fn families(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    fn belongs(&self, sample: &str, family: &str) -> bool {
        let suffix = sample.strip_prefix(family);
        match self.types.get(family).map(String::as_str) {
            Some("histogram") => suffix.is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix)),
            Some(_) => suffix == Some(""),
            None => false,
        }
    }

    /// Buckets ascend to `+Inf`, which is the count.
    fn check_histograms(&self) {
        type Series = (String, BTreeMap<String, String>);
        let mut series: BTreeMap<Series, Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), value) in &self.samples {
            if let Some(family) = name.strip_suffix("_bucket") {
                let mut labels = labels.clone();
                let bound = labels.remove("le").expect("a bucket without its bound");
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                series.entry((family.to_owned(), labels)).or_default().push((bound, *value));
            }
        }
        for ((family, labels), mut buckets) in series {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{family} {labels:?}: {buckets:?}");
            let (bound, all) = *buckets.last().unwrap();
            assert_eq!(bound, f64::INFINITY, "{family} {labels:?}");
            assert_eq!(self.samples.get(&(format!("{family}_count"), labels.clone())), Some(&all));
            assert!(self.samples.contains_key(&(format!("{family}_sum"), labels)));
        }
    }
}

/// Names are plain, say their unit in base units, and counters end in `_total`.
fn check_name(name: &str, kind: &str) {
    assert!(
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
        "{name}"
    );
    assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} is a {kind}");
    assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
    assert_eq!(kind == "histogram", name.ends_with("_seconds") && kind != "gauge", "{name} is a {kind}");
    for part in ["_ms", "_millis", "_micros", "_minutes", "_kb", "_mb"] {
        assert!(!name.contains(part), "{name} is not in base units");
    }
}

/// `name{label="value",…} value`
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, rest) = line.split_at(end);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest).unwrap_or_else(|| panic!("labels that cannot be read: {line}")),
        None => (BTreeMap::new(), rest),
    };
    let value = value.strip_prefix(' ').and_then(|value| value.parse().ok());
    (name.to_owned(), labels, value.unwrap_or_else(|| panic!("no number: {line}")))
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        let (name, after) = rest.split_once("=\"")?;
        assert!(
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}"
        );
        let (mut value, mut chars) = (String::new(), after.char_indices());
        let end = loop {
            match chars.next()? {
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                }),
                (end, '"') => break end,
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "the label {name} twice");
        rest = &after[end + 1..];
        match rest.split_at_checked(1)? {
            (",", more) => rest = more,
            ("}", after) => return Some((labels, after)),
            _ => return None,
        }
    }
}
