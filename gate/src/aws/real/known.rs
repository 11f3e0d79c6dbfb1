//! What load balancers say once and for all, so that it is asked for once: their budget is small, and all runs share it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Something is known for so long: what is made anew under an old name is seen then.
const KNOWN_FOR: Duration = Duration::from_secs(5 * 60);
/// Things of one kind that are known: a deployment has six at most.
const KNOWN_MAX: usize = 4096;

/// Things of one kind by their names.
pub(super) struct Known<T>(Mutex<HashMap<String, (Instant, T)>>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> fmt::Debug for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl<T: Clone> Known<T> {
    /// What is known of this name.
    pub(super) fn of(&self, name: &str) -> Option<T> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, thing) = known.get(name)?;
        (since.elapsed() < KNOWN_FOR).then(|| thing.clone())
    }

    /// Learns something.
    pub(super) fn learn(&self, name: &str, thing: &T) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (since, _)| since.elapsed() < KNOWN_FOR);
        }
        if known.len() < KNOWN_MAX {
            known.insert(name.to_owned(), (Instant::now(), thing.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn things_are_known_for_a_while_and_no_more_than_fit() {
        let known = Known::default();
        known.learn("web", &1);
        assert_eq!((known.of("web"), known.of("other")), (Some(1), None));
        for number in 1..KNOWN_MAX {
            known.learn(&format!("group-{number}"), &2);
        }
        known.learn("one too many", &3);
        assert_eq!((known.of("web"), known.of("one too many")), (Some(1), None));
        tokio::time::advance(KNOWN_FOR).await;
        assert_eq!(known.of("web"), None);
        known.learn("one more", &4);
        assert_eq!(known.of("one more"), Some(4), "what is forgotten makes room");
    }
}
