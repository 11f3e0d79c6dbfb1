//! Whose the watch of a deployment is: one item for each deployment, which later questions of it take over.

use super::super::JournalError;
use super::{Shared, failed, items};

/// A claim that others change at the same moment is looked at again so often.
const TRIES_MAX: usize = 5;

/// A question among others of its deployment: the greater one watches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Watcher {
    pub(crate) accepted_unix_millis: u64,
    pub(crate) id: String,
}

impl Shared {
    /// Gives a deployment's watch to this question, unless a later one has it.
    pub(crate) async fn watch(&self, deployment: &str, own: &Watcher) -> Result<(), JournalError> {
        for _try in 0..TRIES_MAX {
            let found = self.watcher(deployment).await?;
            if found.as_ref().is_some_and(|found| found >= own) {
                return Ok(());
            }
            let claim = items::watch(deployment, own, found.as_ref(), self.now_seconds());
            let claimed = self.table.change(&self.name, &claim).await;
            if claimed.map_err(failed("claim a watch"))? {
                return Ok(());
            }
        }
        // The next sweep claims it.
        Ok(())
    }

    /// The question that watches a deployment; `None` where none has claimed it.
    pub(crate) async fn watcher(&self, deployment: &str) -> Result<Option<Watcher>, JournalError> {
        let found = self.table.item(&self.name, &items::watch_key(deployment)).await;
        Ok(found.map_err(failed("read whose a watch is"))?.as_ref().and_then(items::watcher))
    }
}
