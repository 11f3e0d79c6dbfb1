//! The simulated journal: it keeps what was written over every crash, is slow, stands still, and is full at times.

use std::collections::BTreeMap;
use std::time::Duration;

use policies::{Decision, Event, Moment};
use tokio::time::sleep;

use super::world::{Shared, Trial};
use crate::journal::{Accepted, Entry, Journal, JournalError, Listed, Stored, Written};

/// What is on it, as text: nothing but what can be read back counts.
#[derive(Debug, Default)]
pub(super) struct Disk {
    questions: BTreeMap<String, Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    accepted: String,
    entries: Vec<(Moment, String)>,
    closed: bool,
}

impl Kept {
    fn stored(&self) -> Stored {
        let read = |(at, text): &(Moment, String)| (*at, serde_json::from_str(text).unwrap());
        Stored {
            accepted: serde_json::from_str(&self.accepted).unwrap(),
            entries: self.entries.iter().map(read).collect(),
            unreadable: 0,
        }
    }
}

impl Disk {
    /// Whether each decision was written before anybody was told of it.
    pub(super) fn is_decided_first(&self) -> bool {
        self.questions.values().all(|kept| {
            let mut first =
                kept.stored().entries.into_iter().filter_map(|(_, entry)| match entry {
                    Entry::Decided { .. } => Some(true),
                    Entry::Fact { fact: Event::Delivered { .. } } => Some(false),
                    Entry::Fact { .. } => None,
                });
            first.next().unwrap_or(false)
        })
    }

    /// Every decision on a question, in order.
    pub(super) fn decisions(&self, id: &str) -> Vec<Decision> {
        let entries = self.questions.get(id).map(|kept| kept.stored().entries);
        let decided = |(_, entry)| match entry {
            Entry::Decided { decision } => Some(decision),
            Entry::Fact { .. } => None,
        };
        entries.into_iter().flatten().filter_map(decided).collect()
    }

    /// The first and the last of what happened to a question, ticks left out.
    pub(super) fn told(&self, id: &str) -> String {
        let Some(kept) = self.questions.get(id) else { return "not in the journal".to_owned() };
        let tells = |(at, text): &(Moment, String)| {
            let at = Duration::from_millis(at.as_millis()).as_secs();
            let text: String = text.chars().take(160).collect();
            (!text.contains("ticked") && !text.contains("unchanged"))
                .then(|| format!("  {at} s {text}"))
        };
        let lines: Vec<String> = kept.entries.iter().filter_map(tells).collect();
        let from = lines.len().saturating_sub(12);
        format!("  closed: {}\n{}", kept.closed, lines[from..].join("\n"))
    }
}

/// How a write goes.
#[derive(Clone, Copy)]
enum Write {
    Yes,
    No,
}

impl Shared {
    /// Does something on the disk. A process may be killed before it, and after it.
    fn on_disk<'a, T: Send + 'a>(
        &'a self,
        attempt: &'static str,
        write: Write,
        doing: impl FnOnce(&mut Disk) -> T + Send + 'a,
    ) -> Written<'a, T> {
        Box::pin(async move {
            let (storms, trial) = {
                let world = self.lock();
                (world.climate.storms, world.climate.trial)
            };
            if matches!(trial, Some(Trial::DiskStalls(from)) if self.now() >= from) {
                return std::future::pending().await;
            }
            let millis = match self.chance("disk") {
                rare if storms && rare < 0.003 => 12_000.0,
                other => 0.3 + other * 6.0,
            };
            sleep(Duration::from_secs_f64(millis / 1000.0)).await;
            if matches!(write, Write::Yes) && self.is_disk_full() {
                return Err(JournalError::Database { attempt, source: "the disk is full".into() });
            }
            let done = doing(&mut self.lock().disk);
            sleep(Duration::from_micros(200)).await;
            Ok(done)
        })
    }
}

impl Journal for Shared {
    fn accept(&self, accepted: Accepted) -> Written<'_, bool> {
        self.on_disk("accept a question", Write::Yes, move |disk| {
            let id = accepted.question.id.clone();
            let is_new = !disk.questions.contains_key(&id);
            let kept = disk.questions.entry(id).or_default();
            if is_new {
                kept.accepted = serde_json::to_string(&accepted).unwrap();
            }
            is_new
        })
    }

    fn append<'a>(&'a self, id: &'a str, at: Moment, entry: Entry) -> Written<'a, ()> {
        let mut world = self.lock();
        let decides = matches!(entry, Entry::Decided { .. });
        if world.climate.trial == Some(Trial::Undecided) && world.incarnations == 1 && decides {
            world.falls = true;
            return Box::pin(std::future::pending());
        }
        drop(world);
        self.on_disk("append an entry", Write::Yes, move |disk| {
            let text = serde_json::to_string(&entry).unwrap();
            disk.questions.get_mut(id).unwrap().entries.push((at, text));
        })
    }

    fn close<'a>(&'a self, id: &'a str) -> Written<'a, ()> {
        self.on_disk("close a question", Write::Yes, move |disk| {
            disk.questions.get_mut(id).unwrap().closed = true;
        })
    }

    fn unfinished(&self) -> Written<'_, Vec<Stored>> {
        self.on_disk("read questions", Write::No, |disk| {
            disk.questions.values().filter(|kept| !kept.closed).map(Kept::stored).collect()
        })
    }

    fn load<'a>(&'a self, id: &'a str) -> Written<'a, Option<Stored>> {
        self.on_disk("read a question", Write::No, move |disk| {
            disk.questions.get(id).map(Kept::stored)
        })
    }

    fn list(&self, _: u32) -> Written<'_, Vec<Listed>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Nobody signs here.
    fn first_seen<'a>(&'a self, _: &'a str, _: u64) -> Written<'a, bool> {
        Box::pin(async { Ok(true) })
    }

    fn end(&self) -> Written<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
