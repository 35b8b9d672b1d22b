//! `atelier compile-component`, which no person types: the host starts itself so for each component of a route, to compile it
//! within limits. Says what that process is, and is it.

use std::path::Path;
use std::process::ExitCode;

use atelier_runtime::CompilerProgram;

/// As clap derives it from the verb's name.
const VERB: &str = "compile-component";

/// This binary, started again with that verb.
pub(crate) fn program(binary: &Path) -> CompilerProgram {
    CompilerProgram { program: binary.to_path_buf(), arguments: vec![VERB.into()] }
}

/// Runs before anything else of the host is there: neither its threads nor its configuration.
pub(super) fn run() -> ExitCode {
    atelier_runtime::compile_for_parent()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Arguments;

    #[test]
    fn the_verb_is_known_and_hidden() {
        assert!(Arguments::try_parse_from(["atelier", VERB]).unwrap().is_compiler());
        let help = <Arguments as clap::CommandFactory>::command().render_help().to_string();
        assert!(!help.contains(VERB), "{help}");
    }
}
