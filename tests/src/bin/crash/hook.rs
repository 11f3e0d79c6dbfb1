//! One hook by HTTP, whole or cut off where somebody wants gate dead.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// How far a hook comes before gate is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Half of its body is sent.
    Half,
    /// All of it is sent, and no answer read.
    Sent,
    /// The 202 is read.
    Acknowledged,
}

/// The next hook is to be cut off.
#[derive(Debug, Default)]
pub struct Snare(Mutex<Option<(Cut, oneshot::Sender<()>)>>);

impl Snare {
    /// Cuts the next hook off; says when.
    pub fn set(&self, cut: Cut) -> oneshot::Receiver<()> {
        let (caught, when) = oneshot::channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((cut, caught));
        when
    }

    /// Lets hooks be.
    pub fn clear(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<(Cut, oneshot::Sender<()>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What gate said of a hook.
#[derive(Clone, Debug)]
pub struct Told {
    /// HTTP status.
    pub status: u16,
    /// The evaluation's id.
    pub evaluation: String,
    /// It was known before.
    pub joined: bool,
}

/// Posts a hook; `None` where nobody answers, or nobody is waited for.
pub async fn post(at: &str, body: &Value, snare: &Snare) -> Option<Told> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    // Taken only once somebody listens: a hook that nobody hears is not cut off.
    let mut caught = snare.take();
    let body = body.to_string();
    let head = format!(
        "POST /hooks/codedeploy HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let whole = [head.as_bytes(), body.as_bytes()].concat();
    let sent = match &caught {
        Some((Cut::Half, _)) => whole.len() - body.len() / 2,
        _ => whole.len(),
    };
    stream.write_all(&whole[..sent]).await.ok()?;
    if let Some((_, when)) = caught.take_if(|(cut, _)| *cut != Cut::Acknowledged) {
        when.send(()).ok();
        // Gone with gate; held open until then.
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
        return None;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    if let Some((_, when)) = caught {
        when.send(()).ok();
    }
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let told: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1)?).ok()?;
    Some(Told {
        status,
        evaluation: told["evaluation"].as_str().unwrap_or_default().to_owned(),
        joined: told["joined"] == true,
    })
}
