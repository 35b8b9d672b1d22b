//! The only module that prints. Results go to standard output, errors and progress to standard error; colour only where
//! a person looks and NO_COLOR is not set.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// The longest label is `negative prompt`.
const LABEL_WIDTH: usize = 15;

/// What a stretch of text is shown as.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    /// A name or a heading.
    Strong,
    /// What matters less.
    Faint,
    /// What went well.
    Good,
    /// What did not.
    Bad,
}

/// How a verb answers: to people or to programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    /// One JSON value instead of text.
    pub(crate) json: bool,
    color: bool,
}

impl Terminal {
    /// Looks at the process's standard output and environment.
    pub(crate) fn of_process(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, color: wanted && !json && std::io::stdout().is_terminal() }
    }

    /// Text in a style.
    pub(crate) fn paint(&self, style: Style, text: impl Display) -> String {
        let code = match style {
            Style::Strong => "1",
            Style::Faint => "2",
            Style::Good => "32",
            Style::Bad => "31",
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// A line of the result. A reader that went away is no error.
    pub(crate) fn line(&self, text: impl Display) {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// A piece of a line, shown at once.
    pub(crate) fn piece(&self, text: impl Display) {
        let mut stdout = std::io::stdout().lock();
        let _ = write!(stdout, "{text}").and_then(|()| stdout.flush());
    }

    /// A label and its value, in the columns of a short report.
    pub(crate) fn field(&self, label: &str, value: impl Display) {
        self.line(format_args!(
            "  {} {value}",
            self.paint(Style::Faint, format_args!("{label:<LABEL_WIDTH$}"))
        ));
    }

    /// The result as one JSON value.
    pub(crate) fn json(&self, value: &impl serde::Serialize) {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.line(text);
    }

    /// An error, on one line per problem.
    pub(crate) fn error(&self, text: impl Display) {
        let color = self.color && std::io::stderr().is_terminal();
        let label = if color { "\x1b[31;1merror:\x1b[0m" } else { "error:" };
        let text = text.to_string();
        let mut stderr = std::io::stderr().lock();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let _ = writeln!(stderr, "{label} {line}");
        }
    }

    /// A bar that shows only on a terminal; `template` is indicatif's.
    pub(crate) fn bar(&self, length: u64, template: &str) -> indicatif::ProgressBar {
        let bar = indicatif::ProgressBar::new(length);
        if self.json {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let style = indicatif::ProgressStyle::with_template(template);
        bar.set_style(
            style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()).progress_chars("━╸ "),
        );
        bar
    }
}
