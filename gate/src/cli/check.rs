//! `gate check`: every fault of every policy, with its place and a way out.

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;

use clap::Args;
use policies::document::render;
use policies::{Fault, PolicyFile, PolicySet};

use super::{OK, Output, USAGE, complain, say, say_json};
use crate::library::read_text;

/// Check policy files and show every fault in them.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Policy files, or folders whose `*.policy.yaml` are checked.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How faults are printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Check {
    pub(super) async fn run(self) -> u8 {
        let paths = match expand(&self.files) {
            Ok(paths) => paths,
            Err(fault) => {
                complain(&format!("error: {fault}"));
                return USAGE;
            }
        };
        let mut checked = Vec::new();
        for path in paths {
            match read_text(&path).await {
                Ok(text) => checked.push(PolicyFile::parse(&path.display().to_string(), &text)),
                Err(error) => {
                    let (name, why) =
                        (path.display().to_string(), format!("cannot be read: {error}"));
                    checked.push(PolicyFile::unreadable(&name, &why));
                }
            }
        }
        let checked = PolicySet::of(checked);
        let faults: Vec<&Fault> = checked.faults().collect();
        match self.output {
            Output::Json => say_json(&faults),
            Output::Text => text(checked.files()),
        }
        if faults.iter().any(|fault| fault.is_error()) { USAGE } else { OK }
    }
}

fn text(checked: &[PolicyFile]) {
    for file in checked {
        if !file.faults.is_empty() {
            let rendered = render(&file.faults, &file.text, stdout().is_terminal());
            say(&format!("{}\n", rendered.trim_end()));
        }
        let (errors, all) = (file.errors().count(), file.faults.len());
        let many = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        say(&match (errors, all - errors) {
            (0, 0) => format!("{}: good", file.name),
            (0, warnings) => format!("{}: good, {}", file.name, many(warnings, "warning")),
            (errors, 0) => format!("{}: {}", file.name, many(errors, "fault")),
            (errors, warnings) => {
                format!("{}: {}, {}", file.name, many(errors, "fault"), many(warnings, "warning"))
            }
        });
    }
}

/// Files stand for themselves, folders for the policies in them.
fn expand(files: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for path in files {
        if !path.is_dir() {
            paths.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path)
            .map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
        let before = paths.len();
        paths.extend(
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.to_string_lossy().ends_with(".policy.yaml")),
        );
        if paths.len() == before {
            return Err(format!("{} holds no *.policy.yaml", path.display()));
        }
    }
    paths.sort();
    Ok(paths)
}
