//! SQS, SNS, SSM and Secrets Manager in our words.

use super::Reply;

/// The calls gate makes of SQS and SNS.
pub(crate) trait Messages {
    /// Waits for messages; none after 20 s.
    fn receive<'a>(&'a self, queue: &'a str, visible_again_seconds: u32)
    -> Reply<'a, Vec<Message>>;
    /// Hides a message for so long from now on; 0 gives it back.
    fn hide<'a>(&'a self, queue: &'a str, receipt: &'a str, seconds: u32) -> Reply<'a, ()>;
    /// Lets go of a message.
    fn delete<'a>(&'a self, queue: &'a str, receipt: &'a str) -> Reply<'a, ()>;
    /// Puts a message on a queue.
    fn send<'a>(&'a self, queue: &'a str, body: &'a str) -> Reply<'a, ()>;
    /// Tells a topic.
    fn publish<'a>(&'a self, topic: &'a str, subject: &'a str, message: &'a str) -> Reply<'a, ()>;
}

/// The calls gate makes for secrets.
pub(crate) trait Secrets {
    /// A parameter of SSM, decrypted.
    fn parameter<'a>(&'a self, name: &'a str) -> Reply<'a, String>;
    /// A secret of Secrets Manager, its current version.
    fn secret<'a>(&'a self, id: &'a str) -> Reply<'a, String>;
}

/// A message of a queue.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    /// What deletes or hides it.
    pub(crate) receipt: String,
    pub(crate) body: String,
    /// How often it was received.
    pub(crate) received: u32,
    /// When it was put on the queue, in milliseconds since 1970.
    pub(crate) sent_unix_millis: Option<u64>,
}

impl std::fmt::Debug for Message {
    /// Bodies hold the tokens that answers must carry.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("id", &self.id).field("received", &self.received).finish()
    }
}
