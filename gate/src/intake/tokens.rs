//! Tokens of people: who may override, compared in constant time, and how often a wrong one may be shown.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::Keys;
use crate::config::{Key, TokenReference};
use crate::shell::{Vault, now};

/// Wrong tokens within [`FAILURES_WITHIN`], by whomever they are shown; after them nobody's is looked at.
const FAILURES_MAX: usize = 10;
/// How long a wrong token counts.
const FAILURES_WITHIN: Duration = Duration::from_secs(60);
/// Tokens are read afresh for so long before a wrong one is refused: whoever shows it waits meanwhile.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

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

    /// Whether this is the name of somebody with a token of their own.
    pub(crate) fn has_own(&self, name: &str) -> bool {
        let name = name.trim().to_lowercase();
        let names = self.tokens.iter().filter_map(|token| token.name.as_deref());
        names.into_iter().any(|known| known.trim().to_lowercase() == name)
    }

    /// Looks at a token that somebody shows. One that is known waits for nobody: only where none is it, they are read
    /// afresh, for it may just have been rotated.
    pub(crate) async fn look_at(&self, shown: &str) -> Shown {
        if Self::failed_lately(&mut self.failures()) >= FAILURES_MAX {
            return Shown::Limited;
        }
        // Of digests, so that nothing tells how long a token is.
        let shown = digest(&SHA256, shown.as_bytes());
        if let Some(token) = self.find(shown.as_ref()) {
            return Shown::Known(token.name.clone());
        }
        // Counted before anything is waited for, so that many guesses at once are no more than one after another.
        let failed = now();
        {
            let mut failures = self.failures();
            if Self::failed_lately(&mut failures) >= FAILURES_MAX {
                return Shown::Limited;
            }
            failures.push_back(failed);
        }
        self.read_all_at_once().await;
        if let Some(token) = self.find(shown.as_ref()) {
            let mut failures = self.failures();
            if let Some(place) = failures.iter().position(|at| *at == failed) {
                failures.remove(place);
            }
            return Shown::Known(token.name.clone());
        }
        let lately = self.failures().len();
        warn!(lately, "an override was refused: its token is not known");
        Shown::Wrong
    }

    /// The token of this digest. Each that is known is looked at, so that nothing tells which it is.
    fn find(&self, shown: &[u8]) -> Option<&Token> {
        let is_it = |key: &Key| {
            let known = digest(&SHA256, key.bytes());
            verify_slices_are_equal(known.as_ref(), shown).is_ok()
        };
        let matching = |token: &&Token| token.key.known().iter().filter(|key| is_it(key)).count();
        let found: Vec<&Token> = self.tokens.iter().filter(|token| matching(token) > 0).collect();
        found.first().copied()
    }

    /// Reads all of them, for so long at most.
    async fn read_all_at_once(&self) {
        let mut reading = JoinSet::new();
        for token in self.tokens.iter() {
            let key = token.key.clone();
            reading.spawn(async move { key.read_at_once().await });
        }
        // One that is not read by then is as it was known before.
        let _all = timeout(READ_TIMEOUT, reading.join_all()).await;
    }

    fn failures(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed_lately(failures: &mut VecDeque<Instant>) -> usize {
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
    use crate::intake::keys::FORCED_EVERY;
    use crate::shell::SECRET_LIFETIME;
    use crate::shell::vault::tests::{advance, occupied, vault_of};

    const ALICE: &str = "a token of alice's alone";
    const TEAM: &str = "a token of the whole team";

    async fn tokens() -> Tokens {
        tokens_of(&Arc::new(FakeAws::new())).await.0
    }

    async fn tokens_of(aws: &Arc<FakeAws>) -> (Tokens, Vault) {
        aws.put_secret("alice", ALICE);
        aws.put_secret("team", TEAM);
        let reference = |secret: &str, name: Option<&str>| TokenReference {
            secret: format!("secretsmanager:{secret}"),
            name: name.map(str::to_owned),
        };
        let mut faults = Vec::new();
        let references = [reference("alice", Some("alice")), reference("team", None)];
        let vault = vault_of(Arc::clone(aws));
        let tokens = Tokens::read(&vault, &references, &mut faults).await;
        assert_eq!(faults, [""; 0]);
        (tokens, vault)
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

    #[tokio::test(start_paused = true)]
    async fn while_aws_hangs_a_known_token_waits_for_nobody_and_a_wrong_one_for_so_long() {
        let (tokens, vault) = tokens_of(&Arc::new(FakeAws::new())).await;
        let _hangs = occupied(&vault, "secretsmanager:alice").await;
        advance(SECRET_LIFETIME);
        let began = Instant::now();
        assert_eq!(tokens.look_at(TEAM).await, Shown::Known(None));
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(tokens.look_at("a token of nobody's").await, Shown::Wrong);
        assert_eq!(began.elapsed().as_secs(), READ_TIMEOUT.as_secs());
    }

    #[tokio::test]
    async fn a_token_that_was_just_rotated_is_found_and_is_no_failure() {
        let aws = Arc::new(FakeAws::new());
        let (tokens, _) = tokens_of(&aws).await;
        for rotated in 0..FAILURES_MAX * 2 {
            advance(FORCED_EVERY);
            let token = format!("a token of the whole team, the {rotated}th");
            aws.put_secret("team", &token);
            assert_eq!(tokens.look_at(&token).await, Shown::Known(None));
        }
        assert!(tokens.failures().is_empty());
    }

    #[tokio::test]
    async fn many_guesses_at_once_are_no_more_than_one_after_another() {
        let (tokens, vault) = tokens_of(&Arc::new(FakeAws::new())).await;
        advance(SECRET_LIFETIME);
        let hangs = occupied(&vault, "secretsmanager:team").await;
        let mut guessing = JoinSet::new();
        for guess in 0..30 {
            let tokens = tokens.clone();
            guessing.spawn(async move { tokens.look_at(&format!("guess {guess}")).await });
        }
        tokio::task::yield_now().await;
        drop(hangs);
        let shown = guessing.join_all().await;
        let of = |kind: Shown| shown.iter().filter(|shown| **shown == kind).count();
        assert_eq!((of(Shown::Wrong), of(Shown::Limited)), (FAILURES_MAX, 30 - FAILURES_MAX));
    }

    #[tokio::test]
    async fn a_name_is_its_own_however_it_is_written() {
        let tokens = tokens().await;
        for (name, has_own) in [("alice", true), (" Alice ", true), ("bob", false), ("", false)] {
            assert_eq!(tokens.has_own(name), has_own, "{name}");
        }
    }
}
