//! Keys that sign hooks, and tokens of people: read afresh while gate runs, so that one can be rotated without a restart.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::Key;
use crate::shell::{SECRET_LIFETIME, Vault, now};
use crate::signature::Unsigned;

/// Keys are looked at afresh this often; those that AWS keeps are read every [`SECRET_LIFETIME`].
const KEYS_EVERY: Duration = Duration::from_secs(60);
/// A key that was replaced is good for so long after that: whoever signs hears of it later.
const KEY_OVERLAP: Duration = Duration::from_secs(10 * 60);
/// A signature by no known key makes gate read them at once, but no more often than this.
pub(super) const FORCED_EVERY: Duration = Duration::from_secs(10);

/// The keys of this gate. Debug output has none of them.
#[derive(Clone)]
pub(crate) struct Keys {
    /// The setting that names them.
    setting: &'static str,
    vault: Vault,
    references: Arc<[String]>,
    held: Arc<RwLock<BTreeMap<String, Held>>>,
    /// When they were last read because a signature was by none of them.
    forced: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

/// What one reference stands for.
struct Held {
    key: Key,
    /// What it stood for before, and until when that is good.
    before: Option<(Key, Instant)>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("references", &self.references.len()).finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the keys; what is wrong with them is added to `faults`.
    pub(crate) async fn read(
        setting: &'static str,
        vault: Vault,
        references: Vec<String>,
        faults: &mut Vec<String>,
    ) -> Self {
        let keys = Self {
            setting,
            vault,
            references: references.into(),
            held: Arc::default(),
            forced: Arc::default(),
        };
        for (_, reason) in keys.reread(SECRET_LIFETIME).await {
            faults.push(format!("`{setting}`: {reason}"));
        }
        keys
    }

    /// Whether a hook must be signed. It must, even while no key of it can be read.
    pub(crate) fn are_required(&self) -> bool {
        !self.references.is_empty()
    }

    /// Whether `check` finds a signature to be by one of the keys. Where it is by none, they are read once
    /// more first: one may just have been rotated.
    ///
    /// # Errors
    /// As of `check`.
    pub(crate) async fn admit<T>(
        &self,
        check: impl Fn(&[Key]) -> Result<T, Unsigned>,
    ) -> Result<T, Unsigned> {
        match check(&self.known()) {
            Err(Unsigned::Wrong) => {}
            admitted => return admitted,
        }
        self.read_at_once().await;
        check(&self.known())
    }

    /// Reads them once more, unless that was done lately.
    pub(super) async fn read_at_once(&self) {
        // Whoever comes meanwhile waits for this, and looks at what it found.
        let mut forced = self.forced.lock().await;
        if forced.is_none_or(|last| now().duration_since(last) >= FORCED_EVERY) {
            self.reread(FORCED_EVERY).await;
            *forced = Some(now());
        }
    }

    /// Looks at the keys afresh until gate stops.
    pub(crate) async fn watch(self, stop: CancellationToken) {
        if !self.are_required() {
            return;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(KEYS_EVERY) => {}
            }
            for (reference, reason) in self.reread(SECRET_LIFETIME).await {
                let setting = self.setting;
                error!(setting, reference, reason, "a key cannot be used; who has it is refused");
            }
        }
    }

    /// Every key that is good now.
    pub(super) fn known(&self) -> Vec<Key> {
        let now = now();
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let keys = held.values().flat_map(|held| {
            let before = held.before.as_ref().filter(|(_, until)| now < *until);
            std::iter::once(&held.key).chain(before.map(|(key, _)| key))
        });
        keys.cloned().collect()
    }

    /// Reads every key that was read longer than `age` ago. What cannot be read any more, and why.
    async fn reread(&self, age: Duration) -> Vec<(String, String)> {
        let mut unread = Vec::new();
        for reference in self.references.iter() {
            let read = self.vault.read_within(reference, age).await;
            let key = match read {
                Ok(secret) => Key::new(secret.text().as_bytes().to_vec()),
                Err(trouble) => {
                    let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
                    held.remove(reference);
                    Err(trouble.what)
                }
            };
            match key {
                Ok(key) => self.hold(reference, key),
                // One that was put there by mistake leaves the one before it in force.
                Err(reason) => unread.push((reference.clone(), reason)),
            }
        }
        unread
    }

    fn hold(&self, reference: &str, key: Key) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(reference) {
            Some(known) if known.key == key => {}
            Some(known) => {
                info!(setting = self.setting, reference, "a key was rotated");
                let before = std::mem::replace(&mut known.key, key);
                known.before = Some((before, now() + KEY_OVERLAP));
            }
            None => {
                held.insert(reference.to_owned(), Held { key, before: None });
            }
        }
    }
}

#[cfg(test)]
mod tests;
