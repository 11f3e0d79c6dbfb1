//! Several things at once, their results in the order they were given.

use std::future::poll_fn;
use std::task::Poll;

use crate::shell::Doing;

/// Waits for all of them. Each is looked at whenever any of them moves: there are a dozen or two.
pub(super) async fn together<T>(work: Vec<Doing<'_, T>>) -> Vec<T> {
    let mut work: Vec<Result<T, Doing<'_, T>>> = work.into_iter().map(Err).collect();
    poll_fn(|context| {
        let mut open = false;
        for slot in &mut work {
            if let Err(doing) = slot {
                match doing.as_mut().poll(context) {
                    Poll::Ready(result) => *slot = Ok(result),
                    Poll::Pending => open = true,
                }
            }
        }
        if open { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    work.into_iter().filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_stand_in_the_order_given_whoever_is_first() {
        let (told, heard) = tokio::sync::oneshot::channel::<u8>();
        let first: Doing<'_, u8> = Box::pin(async { heard.await.unwrap() });
        let second: Doing<'_, u8> = Box::pin(async {
            told.send(1).unwrap();
            2
        });
        assert_eq!(together(vec![first, second]).await, [1, 2]);
    }
}
