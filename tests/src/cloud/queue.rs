//! SQS: one queue, with messages that are hidden while somebody has them and delivered again after that.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::lock;
use super::wire::Reply;

/// Messages of one receive.
const RECEIVED_MAX: usize = 10;
/// How often a receive that waits looks whether a hidden message is seen again.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Message {
    id: String,
    body: String,
    sent_unix_millis: u128,
    received: u32,
    hidden_until: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Queue {
    second: Duration,
    messages: Mutex<(u64, Vec<Message>)>,
    came: Notify,
}

impl Queue {
    pub(super) fn new(second: Duration) -> Self {
        Self { second, messages: Mutex::default(), came: Notify::new() }
    }

    pub(super) fn send(&self, body: String) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        {
            let (number, messages) = &mut *lock(&self.messages);
            *number += 1;
            messages.push(Message {
                id: format!("message-{number}"),
                body,
                sent_unix_millis: since.as_millis(),
                received: 0,
                hidden_until: None,
            });
        }
        self.came.notify_one();
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.messages).1.len()
    }

    pub(super) async fn call(&self, operation: &str, input: &Value) -> Option<Reply> {
        let seconds = |key: &str| {
            self.second * u32::try_from(input[key].as_u64().unwrap_or(0)).unwrap_or(u32::MAX)
        };
        let receipt = input["ReceiptHandle"].as_str().unwrap_or_default();
        match operation {
            "ReceiveMessage" => {
                let until = Instant::now() + seconds("WaitTimeSeconds");
                loop {
                    let found = self.take(seconds("VisibilityTimeout"));
                    if !found.is_empty() || Instant::now() >= until {
                        return Some(Reply::Json(json!({ "Messages": found })));
                    }
                    tokio::select! {
                        () = self.came.notified() => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                }
            }
            "DeleteMessage" => {
                lock(&self.messages).1.retain(|message| message.id != receipt);
            }
            "ChangeMessageVisibility" => {
                let until = Instant::now() + seconds("VisibilityTimeout");
                let mut messages = lock(&self.messages);
                let of = messages.1.iter_mut().find(|message| message.id == receipt);
                if let Some(message) = of {
                    message.hidden_until = Some(until);
                }
            }
            _ => return None,
        }
        Some(Reply::Json(json!({})))
    }

    fn take(&self, hidden: Duration) -> Vec<Value> {
        let now = Instant::now();
        let mut messages = lock(&self.messages);
        let seen = |message: &&mut Message| message.hidden_until.is_none_or(|until| until <= now);
        let taken = messages.1.iter_mut().filter(seen).take(RECEIVED_MAX).map(|message| {
            message.hidden_until = Some(now + hidden);
            message.received += 1;
            json!({
                "MessageId": message.id,
                "ReceiptHandle": message.id,
                "Body": message.body,
                "Attributes": {
                    "ApproximateReceiveCount": message.received.to_string(),
                    "SentTimestamp": message.sent_unix_millis.to_string(),
                },
            })
        });
        taken.collect()
    }
}
