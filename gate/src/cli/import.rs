//! `gate import`: tests that a team already has, as a policy.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{OK, Output, USAGE, complain, say_json};
use crate::import::{FILE_MAX_BYTES, Imported, Kind, Variable, environment, import};

/// What a file is.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// A collection of Postman, v2.0 or v2.1, as Newman runs it.
    Postman,
    /// A Pact file's HTTP interactions, v1 to v4.
    Pact,
    /// The GET and HEAD operations of an OpenAPI document, 3.0 or 3.1, JSON or YAML.
    Openapi,
}

/// Write a policy from tests that a team already has; what cannot be carried over is listed.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// What the file is.
    #[arg(value_enum)]
    from: From,
    /// The file, at most 16 MiB.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write the policy; standard output without it.
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long, requires = "out")]
    force: bool,
    /// An environment or globals as Postman exports them, for the variables of a collection.
    #[arg(long, value_name = "FILE")]
    environment: Vec<PathBuf>,
    /// A variable of a collection; before those of --environment.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    var: Vec<(String, String)>,
    /// How what came of it is printed: the policy as it is, or all of it as JSON.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

impl Import {
    pub(super) fn run(&self) -> u8 {
        match self.import() {
            Ok(imported) => {
                for note in &imported.notes {
                    complain(&format!("note: {}: {}", note.place, note.reason));
                }
                for remark in &imported.left_out {
                    complain(&format!("left out: {}: {}", remark.place, remark.reason));
                }
                match (self.output, &self.out) {
                    (Output::Json, _) => say_json(&imported),
                    (Output::Text, Some(_)) => {}
                    (Output::Text, None) => {
                        drop(std::io::stdout().lock().write_all(imported.policy.as_bytes()));
                    }
                }
                OK
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    complain(&format!("error: {}: {mistake}", self.file.display()));
                }
                USAGE
            }
        }
    }

    fn import(&self) -> Result<Imported, Vec<String>> {
        let kind = match self.from {
            From::Postman => Kind::Postman,
            From::Pact => Kind::Pact,
            From::Openapi => Kind::Openapi,
        };
        let mut mistakes = Vec::new();
        if let Some(out) = self.out.as_deref().filter(|out| out.exists() && !self.force) {
            mistakes.push(format!("{} is there already; --force writes over it", out.display()));
        }
        let variables = self.variables(&mut mistakes);
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let imported = read(&self.file)
            .map_err(|mistake| vec![mistake])
            .and_then(|text| import(kind, &name, &text, &variables));
        let imported = match imported {
            Ok(imported) if mistakes.is_empty() => imported,
            Ok(_) => return Err(mistakes),
            Err(more) => {
                mistakes.extend(more);
                return Err(mistakes);
            }
        };
        if let Some(out) = &self.out {
            write(out, &imported.policy, self.force).map_err(|mistake| vec![mistake])?;
        }
        Ok(imported)
    }

    fn variables(&self, mistakes: &mut Vec<String>) -> BTreeMap<String, Variable> {
        let mut variables = BTreeMap::new();
        let given = !self.var.is_empty() || !self.environment.is_empty();
        if given && !matches!(self.from, From::Postman) {
            mistakes.push("--var and --environment are for `gate import postman`".to_owned());
        }
        for path in &self.environment {
            match read(path).and_then(|text| environment(&text)) {
                Ok(more) => variables.extend(more),
                Err(mistake) => mistakes.push(format!("{}: {mistake}", path.display())),
            }
        }
        let given = self.var.iter().cloned();
        variables.extend(given.map(|(name, value)| (name, Variable { value, secret: false })));
        variables
    }
}

fn read(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    let limit = u64::try_from(FILE_MAX_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(cannot)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > FILE_MAX_BYTES {
        return Err(format!("larger than {FILE_MAX_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("no text in UTF-8: byte {} is not", error.utf8_error().valid_up_to())
    })
}

/// Writes beside the file and renames, so that none is ever half written.
fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = fs::write(&beside, text).and_then(|()| {
        if force {
            fs::rename(&beside, path)
        } else {
            // Unlike renaming, linking fails where a file has appeared meanwhile.
            fs::hard_link(&beside, path).and_then(|()| fs::remove_file(&beside))
        }
    });
    written.map_err(|error| {
        drop(fs::remove_file(&beside));
        cannot(error)
    })
}
