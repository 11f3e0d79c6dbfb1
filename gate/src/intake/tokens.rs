//! Tokens of people: who may override, compared in constant time, and how often a wrong one may be shown.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::Keys;
use crate::config::{Key, TokenReference};
use crate::shell::{Vault, now};
use crate::signature::Unsigned;

/// Wrong tokens within [`FAILURES_WITHIN`], by whomever they are shown; after them nobody's is looked at.
const FAILURES_MAX: usize = 10;
/// How long a wrong token counts.
const FAILURES_WITHIN: Duration = Duration::from_secs(60);

/// The tokens of this gate. Debug output has none of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    tokens: Arc<[Token]>,
    failures: Arc<Mutex<VecDeque<Instant>>>,
}

/// One token, and whose it is.
#[derive(Debug)]
struct Token {
    key: Keys,
    name: Option<String>,
}

/// What came of a token that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It is known; whose it is, where it is one person's.
    Known(Option<String>),
    /// It is not.
    Wrong,
    /// Too many wrong ones were shown lately.
    Limited,
}

impl Tokens {
    /// Reads the tokens; what is wrong with them is added to `faults`.
    pub(crate) async fn read(
        vault: &Vault,
        references: &[TokenReference],
        faults: &mut Vec<String>,
    ) -> Self {
        let mut tokens = Vec::new();
        for TokenReference { secret, name } in references {
            let secrets = vec![secret.clone()];
            let key = Keys::read("overrides.tokens", vault.clone(), secrets, faults).await;
            tokens.push(Token { key, name: name.clone() });
        }
        Self { tokens: tokens.into(), failures: Arc::default() }
    }

    /// Whether there are any.
    pub(crate) fn are_there(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Looks at a token that somebody shows.
    pub(crate) async fn look_at(&self, shown: &str) -> Shown {
        if self.failed_lately() >= FAILURES_MAX {
            return Shown::Limited;
        }
        // Of digests, so that nothing tells how long a token is.
        let shown = digest(&SHA256, shown.as_bytes());
        let is_it = |key: &Key| {
            let known = digest(&SHA256, key.bytes());
            verify_slices_are_equal(known.as_ref(), shown.as_ref()).is_ok()
        };
        let check = |keys: &[Key]| {
            // Each is looked at, so that nothing tells which it is.
            let known = keys.iter().filter(|key| is_it(key)).count();
            if known > 0 { Ok(()) } else { Err(Unsigned::Wrong) }
        };
        for token in self.tokens.iter() {
            if token.key.admit(check).await.is_ok() {
                return Shown::Known(token.name.clone());
            }
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push_back(now());
        warn!(lately = failures.len(), "an override was refused: its token is not known");
        Shown::Wrong
    }

    fn failed_lately(&self) -> usize {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        while failures.front().is_some_and(|at| now.duration_since(*at) >= FAILURES_WITHIN) {
            failures.pop_front();
        }
        failures.len()
    }

    /// Looks at the tokens afresh until gate stops.
    pub(crate) fn watch(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        for token in self.tokens.iter() {
            tasks.spawn(token.key.clone().watch(stop.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::fake::FakeAws;
    use crate::shell::vault::tests::{advance, vault_of};

    const ALICE: &str = "a token of alice's alone";
    const TEAM: &str = "a token of the whole team";

    async fn tokens() -> Tokens {
        let aws = Arc::new(FakeAws::new());
        aws.put_secret("alice", ALICE);
        aws.put_secret("team", TEAM);
        let reference = |secret: &str, name: Option<&str>| TokenReference {
            secret: format!("secretsmanager:{secret}"),
            name: name.map(str::to_owned),
        };
        let mut faults = Vec::new();
        let references = [reference("alice", Some("alice")), reference("team", None)];
        let tokens = Tokens::read(&vault_of(aws), &references, &mut faults).await;
        assert_eq!(faults, [""; 0]);
        tokens
    }

    #[tokio::test]
    async fn a_token_says_whose_it_is_and_ten_wrong_ones_a_minute_shut_the_door() {
        let tokens = tokens().await;
        assert_eq!(tokens.look_at(ALICE).await, Shown::Known(Some("alice".to_owned())));
        assert_eq!(tokens.look_at(TEAM).await, Shown::Known(None));
        for wrong in 0..FAILURES_MAX {
            assert_eq!(tokens.look_at(&format!("{ALICE}{wrong}")).await, Shown::Wrong);
        }
        assert_eq!(tokens.look_at(ALICE).await, Shown::Limited);
        advance(FAILURES_WITHIN);
        assert_eq!(tokens.look_at(ALICE).await, Shown::Known(Some("alice".to_owned())));
        let shown = format!("{tokens:?}");
        assert!(!shown.contains(ALICE) && !shown.contains(TEAM), "{shown}");
    }
}
