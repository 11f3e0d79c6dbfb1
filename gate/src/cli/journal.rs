//! `gate journal`: whether a journal is sound, what is in it for others to read, and letting go of what is old.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{FAILED, OK, Output, USAGE, complain, say, say_json, story};
use crate::clock::unix_millis;
use crate::config::{self, JournalLayer, Layer};
use crate::journal::{self, Archive, Fault, JournalError, Looked, Retention};
use crate::record::{self, ENDING, Record};

/// Look after a journal: check it, export what is in it, let go of what is old.
#[derive(Debug, Args)]
pub(super) struct Journal {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check the file, the checksum of every row, and that every question replays.
    ///
    /// Reads only, also beside the daemon that writes. Exit 0: sound; 1: something is wrong, and named; 2: it cannot be
    /// opened.
    Verify(Verify),
    /// Write questions as records, one file each, or as JSON lines.
    ///
    /// Records have no tokens. Reads only, also beside the daemon that writes. Exit 1: some could not be read; the others are
    /// written.
    Export(Export),
    /// Let go of runs that are over and old, and make the file smaller.
    ///
    /// Not while a daemon has the journal open: it does so by itself, every hour. Open runs stay, and those younger than a
    /// day.
    Prune(Prune),
}

/// Which journal.
#[derive(Debug, Args)]
struct Which {
    /// The journal.
    #[arg(long, env = "GATE_JOURNAL_PATH", value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Settings of the daemon, which name it where `--journal` does not.
    #[arg(long, value_name = "FILE", env = "GATE_CONFIG")]
    config: Option<PathBuf>,
    /// Profile of the settings to lay over them.
    #[arg(long, value_name = "NAME", env = "GATE_PROFILE")]
    profile: Option<String>,
}

#[derive(Debug, Args)]
struct Verify {
    #[command(flatten)]
    which: Which,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
struct Export {
    #[command(flatten)]
    which: Which,
    /// Folder for one file each; made if it is not there. Without it JSON lines go to standard output.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Only this evaluation.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Only those accepted in this time, such as `24h` or `30d`.
    #[arg(long, value_name = "AGE", value_parser = config::age, conflicts_with = "id")]
    since: Option<Duration>,
}

#[derive(Debug, Args)]
struct Prune {
    #[command(flatten)]
    which: Which,
    /// Let go of runs accepted longer ago than this, such as `30d`.
    #[arg(long, value_name = "AGE", value_parser = config::age)]
    older_than: Option<Duration>,
    /// Let go of the oldest runs while more than this is in use, such as `1GB`.
    #[arg(long, value_name = "SIZE", value_parser = config::size)]
    larger_than: Option<u64>,
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Journal {
    pub(super) fn run(self) -> u8 {
        let done = match self.what {
            What::Verify(verify) => verify.run(),
            What::Export(export) => export.run(),
            What::Prune(prune) => prune.run(),
        };
        done.unwrap_or_else(|why| {
            complain(&format!("error: {why}"));
            USAGE
        })
    }
}

impl Which {
    /// The journal and what may be let go of in it.
    fn settle(&self) -> Result<(PathBuf, Retention), String> {
        let path = self.journal.clone();
        let journal = path.map(|path| JournalLayer { path: Some(path), ..JournalLayer::default() });
        let flags = Layer { journal, ..Layer::default() };
        let layered = config::layered(self.config.as_deref(), self.profile.as_deref(), flags);
        let (settings, faults) = layered.map_err(|error| error.to_string())?;
        match (faults.first(), &settings.journal.dynamodb) {
            (Some(fault), _) => Err(fault.clone()),
            (None, Some(shared)) if self.journal.is_none() => Err(format!(
                "the settings keep the journal in the table `{}`, and this looks at files: name one with --journal",
                shared.table
            )),
            (None, _) => Ok((settings.journal.path(), settings.journal.retention())),
        }
    }
}

fn told(error: &JournalError) -> String {
    story(error)
}

impl Verify {
    fn run(&self) -> Result<u8, String> {
        let (path, _) = self.which.settle()?;
        let looked = Archive::open(&path).and_then(|archive| archive.look());
        let looked = looked.map_err(|error| told(&error))?;
        match self.output {
            Output::Json => say_json(&looked),
            Output::Text => {
                for line in lines(&path, &looked) {
                    say(&line);
                }
            }
        }
        Ok(if looked.faults.is_empty() { OK } else { FAILED })
    }
}

fn lines(path: &Path, looked: &Looked) -> Vec<String> {
    let Looked { version, questions, open, entries, differing, faults } = looked;
    let mut lines: Vec<String> = faults
        .iter()
        .map(|Fault { question, what }| match question {
            Some(id) => format!("fault: {id}: {what}"),
            None => format!("fault: the file: {what}"),
        })
        .collect();
    let path = path.display();
    lines.push(format!(
        "{path}: version {version}, {questions} questions ({open} open), {entries} entries, {} faults",
        faults.len()
    ));
    if *differing > 0 {
        lines.push(format!(
            "{differing} of the sound ones this gate would decide otherwise than the one that did: `gate replay {path}` says which; no fault of the journal"
        ));
    }
    if faults.iter().any(|fault| fault.question.is_none()) {
        lines.push(format!(
            "to do: stop gate, `gate journal export --journal {path} --to FOLDER`, move the file aside with its -wal and -shm, and start gate again; open questions are then forgotten, and AWS answers them itself"
        ));
    } else if !faults.is_empty() {
        lines.push(
            "to do: nothing for questions that are over. An open one is judged without what is damaged; its page says what is left".to_owned(),
        );
    }
    lines
}

impl Export {
    fn run(&self) -> Result<u8, String> {
        let (path, _) = self.which.settle()?;
        let archive = Archive::open(&path).map_err(|error| told(&error))?;
        let since = self.since.map(|age| unix_millis().saturating_sub(millis(age)));
        let ids = match &self.id {
            Some(id) => vec![id.clone()],
            None => archive.ids(since).map_err(|error| told(&error))?,
        };
        if let Some(folder) = &self.to {
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        }
        let (mut written, mut unread) = (0, 0);
        for id in &ids {
            match archive.load(id) {
                Ok(Some(stored)) => {
                    if stored.unreadable > 0 {
                        complain(&format!("{id}: {} entries cannot be read", stored.unreadable));
                        unread += 1;
                    }
                    self.write(id, &record::of(stored))?;
                    written += 1;
                }
                Ok(None) if self.id.is_some() => {
                    return Err(format!("there is no evaluation `{id}` in {}", path.display()));
                }
                Ok(None) => {}
                Err(error) => {
                    complain(&told(&error));
                    unread += 1;
                }
            }
        }
        if let Some(folder) = &self.to {
            say(&format!("{written} records in {}", folder.display()));
        }
        Ok(if unread > 0 { FAILED } else { OK })
    }

    fn write(&self, id: &str, record: &Record) -> Result<(), String> {
        let Some(folder) = &self.to else {
            let line = serde_json::to_string(record).map_err(|error| error.to_string())?;
            say(&line);
            return Ok(());
        };
        // An id is letters, digits and `-` of ours and AWS's; whatever else it is, it names no other folder.
        let name = id.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "_");
        let path = folder.join(format!("{name}{ENDING}"));
        let write = || -> std::io::Result<()> {
            let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
            serde_json::to_writer(&mut file, record)?;
            file.flush()
        };
        write().map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }
}

impl Prune {
    fn run(&self) -> Result<u8, String> {
        let (path, settings) = self.which.settle()?;
        let retention = if self.older_than.is_none() && self.larger_than.is_none() {
            settings
        } else {
            Retention { keep: self.older_than, max_bytes: self.larger_than }
        };
        let now = unix_millis();
        if self.dry_run {
            return self.dry(&path, retention, now);
        }
        let pruned = journal::prune(&path, retention, now);
        let (runs, before, after) = pruned.map_err(|error| {
            let in_use = matches!(error, JournalError::InUse { .. });
            let more = if in_use {
                ", and prunes it by itself every hour, as `journal.keep` and `journal.max-size` say; `--dry-run` works beside it"
            } else {
                ""
            };
            format!("{}{more}", told(&error))
        })?;
        match self.output {
            Output::Json => {
                say_json(&json!({ "runs": runs, "bytes_before": before, "bytes": after }));
            }
            Output::Text => {
                say(&format!("{runs} runs let go of: {before} bytes before, {after} now"));
            }
        }
        Ok(OK)
    }

    fn dry(&self, path: &Path, retention: Retention, now: u64) -> Result<u8, String> {
        let going = Archive::open(path).and_then(|archive| archive.to_prune(retention, now));
        let going = going.map_err(|error| told(&error))?;
        let bytes: u64 = going.iter().map(|(_, bytes)| bytes).sum();
        match self.output {
            Output::Json => {
                let ids: Vec<&String> = going.iter().map(|(id, _)| id).collect();
                say_json(&json!({ "runs": ids.len(), "bytes": bytes, "ids": ids }));
            }
            Output::Text => {
                for (id, bytes) in &going {
                    say(&format!("{id}: {bytes} bytes"));
                }
                say(&format!("{} runs would go, about {bytes} bytes", going.len()));
            }
        }
        Ok(OK)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
