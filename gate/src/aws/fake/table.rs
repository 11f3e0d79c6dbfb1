//! A table in memory, for tests: conditions hold as DynamoDB's do, answers can be lost, and before each call others get a
//! turn, as on the way to a real one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::yield_now;

use super::super::table::{Change, Expected, Index, Indexed, Item, Key, Shape, Table};
use super::super::{AwsError, Call, Failure, Reply};

/// What a write comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// It is refused, and nothing is written.
    Refused,
    /// It is written, its answer is lost, and the client's own next try says that the condition does not hold.
    Retried,
    /// It is written, and nobody is told.
    Unanswered,
    /// It is not written, and nobody is ever told. Of changes only.
    Hanging,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct FakeTable {
    items: Mutex<BTreeMap<Key, Item>>,
    /// What becomes of the next writes; they succeed after these.
    next: Mutex<Vec<Option<Write>>>,
    /// Whether the next reads by key fail; they succeed after these.
    next_reads: Mutex<Vec<bool>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeTable {
    /// Has the next writes go wrong so, in order; `None` is one that does not.
    pub(crate) fn break_writes(&self, how: &[Option<Write>]) {
        lock(&self.next).extend(how.iter().rev());
    }

    /// Takes a question off the index of open ones, as whoever closes it does.
    pub(crate) fn close(&self, question: &str) {
        if let Some(item) = lock(&self.items).get_mut(&Key::new(question, 0)) {
            item.values.remove("open");
        }
    }

    /// Has the next reads by key fail where this says so, in order.
    pub(crate) fn break_reads(&self, which: &[bool]) {
        lock(&self.next_reads).extend(which.iter().rev());
    }

    fn read<T>(&self, call: Call, read: impl FnOnce() -> T) -> Result<T, AwsError> {
        if lock(&self.next_reads).pop() == Some(true) {
            return Err(unavailable(call));
        }
        Ok(read())
    }

    fn written(&self, call: Call, write: impl FnOnce() -> bool) -> Result<bool, AwsError> {
        let how = lock(&self.next).pop().flatten();
        if how == Some(Write::Refused) {
            return Err(unavailable(call));
        }
        let done = write();
        match how {
            Some(Write::Unanswered) => Err(unavailable(call)),
            Some(Write::Retried) => Ok(false),
            Some(Write::Refused | Write::Hanging) | None => Ok(done),
        }
    }
}

fn unavailable(call: Call) -> AwsError {
    AwsError {
        call,
        subject: "gate".into(),
        code: "InternalServerError".into(),
        message: String::new(),
        failure: Failure::Passing,
    }
}

fn holds(item: Option<&Item>, expected: &Expected) -> bool {
    let value = |name: &str| item.and_then(|item| item.values.get(name));
    match expected {
        Expected::Is(name, wanted) => value(name) == Some(wanted),
        Expected::Present(name) => value(name).is_some(),
        Expected::Absent(name) => value(name).is_none(),
    }
}

impl Table for FakeTable {
    fn shape<'a>(&'a self, _table: &'a str) -> Reply<'a, Shape> {
        let key = |name: &str, of: &str| (name.to_owned(), of.to_owned());
        let index = |name: &str| {
            let keys = vec![name.to_owned(), "accepted".to_owned()];
            (name.to_owned(), Index { keys, attributes: None })
        };
        let shape = Shape {
            active: true,
            keys: vec![key("question", "S"), key("entry", "N")],
            indexes: [index("open"), index("listed")].into(),
        };
        Box::pin(async { Ok(shape) })
    }

    fn put_new<'a>(&'a self, _table: &'a str, item: &'a Item) -> Reply<'a, bool> {
        Box::pin(async {
            yield_now().await;
            self.written(Call::PutItem, || {
                let mut items = lock(&self.items);
                let new = !items.contains_key(&item.key);
                if new {
                    items.insert(item.key.clone(), item.clone());
                }
                new
            })
        })
    }

    fn change<'a>(&'a self, _table: &'a str, change: &'a Change) -> Reply<'a, bool> {
        if lock(&self.next).pop_if(|how| *how == Some(Write::Hanging)).is_some() {
            return Box::pin(std::future::pending());
        }
        let make = move || {
            let mut items = lock(&self.items);
            let found = items.get(&change.key);
            let fits = change.expected.iter().all(|expected| holds(found, expected));
            if fits {
                let item = items
                    .entry(change.key.clone())
                    .or_insert_with(|| Item::new(change.key.clone()));
                for (name, value) in &change.set {
                    item.values.insert((*name).to_owned(), value.clone());
                }
                for name in &change.remove {
                    item.values.remove(*name);
                }
            }
            fits
        };
        Box::pin(async move {
            yield_now().await;
            self.written(Call::UpdateItem, make)
        })
    }

    fn item<'a>(&'a self, _table: &'a str, key: &'a Key) -> Reply<'a, Option<Item>> {
        Box::pin(async {
            yield_now().await;
            self.read(Call::GetItem, || lock(&self.items).get(key).cloned())
        })
    }

    fn question<'a>(&'a self, _table: &'a str, question: &'a str) -> Reply<'a, Vec<Item>> {
        Box::pin(async move {
            yield_now().await;
            self.read(Call::Query, || {
                let items = lock(&self.items);
                items.values().filter(|item| item.key.question == question).cloned().collect()
            })
        })
    }

    fn newest<'a>(&'a self, _table: &'a str, question: &'a str, most: u32) -> Reply<'a, Vec<Item>> {
        Box::pin(async move {
            yield_now().await;
            let items = lock(&self.items);
            let of = items.values().rev().filter(|item| item.key.question == question);
            Ok(of.take(usize::try_from(most).unwrap_or(usize::MAX)).cloned().collect())
        })
    }

    fn indexed<'a>(&'a self, _table: &'a str, asked: &'a Indexed) -> Reply<'a, Vec<Item>> {
        Box::pin(async {
            yield_now().await;
            let items = lock(&self.items);
            let holds = |item: &&Item| item.text(asked.index) == Some(asked.of);
            let mut found: Vec<Item> = items.values().filter(holds).cloned().collect();
            drop(items);
            found.sort_by_key(|item| item.number("accepted"));
            if asked.newest_first {
                found.reverse();
            }
            found.truncate(usize::try_from(asked.most).unwrap_or(usize::MAX));
            Ok(found)
        })
    }
}
