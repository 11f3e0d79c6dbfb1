//! Questions that are being written down: each of them once at a time, different ones together.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Questions that are being written down.
#[derive(Debug, Default)]
pub(super) struct Accepting {
    /// Their ids, and the deployments they are about.
    questions: Mutex<HashMap<String, String>>,
    /// Told whenever one of them is done.
    done: Notify,
}

/// One of them; it is done when this goes.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    accepting: &'a Accepting,
    id: String,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.accepting.lock().remove(&self.id);
        self.accepting.done.notify_waiters();
    }
}

impl Accepting {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else writes this question down; where it was announced only, until nobody writes down any of its
    /// deployment, for it joins that one. Before each try `otherwise` is told how many are being written down, and may end it.
    pub(super) async fn turn<T>(
        &self,
        id: &str,
        subject: &str,
        announced: bool,
        otherwise: impl Fn(usize) -> Option<T>,
    ) -> Result<Turn<'_>, T> {
        loop {
            // From here on no end of another one is missed.
            let done = self.done.notified();
            {
                let mut questions = self.lock();
                if let Some(outcome) = otherwise(questions.len()) {
                    return Err(outcome);
                }
                let about = |other: &String| announced && other == subject;
                if !questions.contains_key(id) && !questions.values().any(about) {
                    questions.insert(id.to_owned(), subject.to_owned());
                    return Ok(Turn { accepting: self, id: id.to_owned() });
                }
            }
            done.await;
        }
    }

    /// The turn of a question that nobody writes down at this moment; `None` where somebody does.
    pub(super) fn turn_now(&self, id: &str) -> Option<Turn<'_>> {
        let mut questions = self.lock();
        if questions.contains_key(id) {
            return None;
        }
        // Which deployment it is about is not known, so that no announcement waits for it.
        questions.insert(id.to_owned(), String::new());
        Some(Turn { accepting: self, id: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    async fn turn<'a>(
        accepting: &'a Accepting,
        id: &str,
        about: &str,
        announced: bool,
    ) -> Option<Turn<'a>> {
        let turn = accepting.turn(id, about, announced, |_| None::<()>);
        timeout(Duration::from_secs(1), turn).await.ok().map(Result::unwrap)
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_has_one_turn_and_others_do_not_wait_for_it() {
        let accepting = Accepting::default();
        let first = turn(&accepting, "one", "d-1", false).await.unwrap();
        assert!(turn(&accepting, "one", "d-1", false).await.is_none());
        assert!(turn(&accepting, "announced", "d-1", true).await.is_none());
        assert!(turn(&accepting, "announced", "d-2", true).await.is_some());
        assert!(turn(&accepting, "two", "d-1", false).await.is_some());
        drop(first);
        assert!(turn(&accepting, "one", "d-1", false).await.is_some());
        assert!(turn(&accepting, "announced", "d-1", true).await.is_some());
        let now = accepting.turn_now("three").unwrap();
        assert!(accepting.turn_now("three").is_none());
        assert!(turn(&accepting, "three", "d-3", false).await.is_none());
        drop(now);
        assert!(turn(&accepting, "three", "d-3", false).await.is_some());
        let full = accepting.turn("one", "d-1", false, Some).await;
        assert_eq!(full.unwrap_err(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_deliveries_of_one_question_come_one_after_the_other() {
        let accepting = Arc::new(Accepting::default());
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut deliveries = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (accepting, now, most) =
                (Arc::clone(&accepting), Arc::clone(&now), Arc::clone(&most));
            deliveries.spawn(async move {
                let _turn = accepting.turn("one", "d-1", false, |_| None::<()>).await.unwrap();
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(1)).await;
                now.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while let Some(done) = deliveries.join_next().await {
            done.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }
}
