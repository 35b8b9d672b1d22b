//! What is wrong with a configuration: every problem with its place, its key and the fix, all of them at once. Knows
//! nothing of what keys mean.

use std::fmt;

/// Where a problem is: in the manifest as a whole, a line of it, or an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The manifest's file, of which no line could be read.
    File,
    /// A line of the manifest, from 1.
    Line(usize),
    /// An overriding variable's name.
    Variable(String),
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// The key, such as `route.images.component`; empty when the text cannot be read as TOML.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

/// A configuration that cannot be used: every problem that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: String,
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Sorts the problems by place.
    pub(super) fn new(file: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        Self { file: file.into(), problems }
    }

    /// The problems, by place.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    /// One line per problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { place, key, text }) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            let colon = if key.is_empty() { "" } else { ": " };
            match place {
                Place::File => write!(f, "{line_break}{}: {key}{colon}{text}", self.file)?,
                Place::Line(line) => write!(f, "{line_break}{}:{line}: {key}{colon}{text}", self.file)?,
                Place::Variable(name) if key.is_empty() => write!(f, "{line_break}{name}: {text}")?,
                Place::Variable(name) => write!(f, "{line_break}{name} ({key}): {text}")?,
            }
        }
        Ok(())
    }
}

/// The known name closest to `wrong`, when it is close enough to be meant.
pub(super) fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let rate = |name: &'a str| (strsim::jaro_winkler(wrong, name), name);
    let best = known.into_iter().map(rate).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.75).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn a_slip_of_the_finger_finds_the_key_and_nonsense_does_not() {
        let known = ["listen", "admin", "max-connections"];
        assert_eq!(did_you_mean("lisen", known), Some("listen"));
        assert_eq!(did_you_mean("max_connections", known), Some("max-connections"));
        assert_eq!(did_you_mean("zzz", known), None);
    }
}
