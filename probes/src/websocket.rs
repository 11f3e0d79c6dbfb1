//! A WebSocket: opened, one message sent, one awaited.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use futures_util::{SinkExt, StreamExt};
use hyper::Request;
use policies::plan::{BODY_MAX_BYTES, HttpVersion, Template};
use policies::reply::Reply;
use policies::sample::Outcome;
use tokio::time::timeout_at;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::connect::{broken, dial};
use crate::exchange::Route;
use crate::order::{ReadyHeaders, no_path};
use crate::probe::{Asked, Attempt, Lost, Probe};
use crate::wire::Wire;

/// Read at once: the library's own 128 KiB would be taken for every probe under way.
const READ_BYTES: usize = 4 * 1024;

/// A WebSocket, ready to be opened.
pub(crate) struct WebSocketProbe {
    pub(crate) route: Route,
    pub(crate) path: Template,
    pub(crate) headers: ReadyHeaders,
    pub(crate) send: Option<Template>,
}

impl fmt::Debug for WebSocketProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketProbe").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Probe for WebSocketProbe {
    fn ask<'a>(&'a self, attempt: Attempt<'a>) -> Pin<Box<dyn Future<Output = Asked> + Send + 'a>> {
        Box::pin(async move {
            let mut asked = Asked::new();
            asked.result = self.converse(&attempt, &mut asked).await;
            asked
        })
    }
}

impl WebSocketProbe {
    async fn converse(&self, attempt: &Attempt<'_>, asked: &mut Asked) -> Result<Reply, Lost> {
        let request = self.opening(attempt)?;
        let (name, tls) = (self.route.name(attempt), attempt.target.tls);
        let (version, deadline) = (Some(HttpVersion::One), attempt.deadline);
        let trust = &self.route.trust;
        let dialled =
            dial(trust, attempt.target, (name, tls), version, deadline, &mut asked.phases).await?;
        asked.certificate_days = dialled.certificate_days;
        let stamps = dialled.wire.stamps();
        let talked = timeout_at(deadline, self.talk(request, dialled.wire, attempt)).await;
        stamps.note(&mut asked.phases);
        talked.unwrap_or(Err(Outcome::Timeout.into()))
    }

    fn opening(&self, attempt: &Attempt<'_>) -> Result<Request<()>, Lost> {
        let authority = self.route.authority(attempt);
        let scheme = if attempt.target.tls { "wss" } else { "ws" };
        let path = self.path.fill(attempt.values);
        let mut request = Request::get(format!("{scheme}://{authority}{path}"))
            .header("host", authority)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .body(())
            .map_err(|_invalid| no_path())?;
        request.headers_mut().extend(self.headers.fill(attempt.arm, attempt.values)?.into_owned());
        Ok(request)
    }

    async fn talk(
        &self,
        request: Request<()>,
        wire: Wire,
        attempt: &Attempt<'_>,
    ) -> Result<Reply, Lost> {
        let mut config = WebSocketConfig::default();
        config.read_buffer_size = READ_BYTES;
        config.max_message_size = Some(BODY_MAX_BYTES);
        config.max_frame_size = Some(BODY_MAX_BYTES);
        let stamps = wire.stamps();
        let mut hold = attempt.pool.hold(attempt.arm);
        let opened = client_async_with_config(request, wire, Some(config)).await;
        let (mut socket, response) = opened.map_err(|error| lost(&error))?;
        stamps.head_came();
        let status = Some(response.status().as_u16());
        let Some(send) = &self.send else { return Ok(Reply::new(status, Vec::new())) };
        let text = Message::text(send.fill(attempt.values));
        socket.send(text).await.map_err(|error| lost(&error))?;
        loop {
            // The library holds the parts of a message; what was read bounds what it holds.
            let next = poll_fn(|context| {
                let polled = socket.poll_next_unpin(context);
                if polled.is_pending() && !hold.grow_to(stamps.read_so_far()) {
                    return Poll::Ready(Err(Outcome::TooLarge));
                }
                polled.map(Ok)
            });
            let Some(message) = next.await? else { break };
            match message.map_err(|error| lost(&error))? {
                Message::Text(text) => return Ok(Reply::new(status, text.as_bytes().to_vec())),
                Message::Binary(bytes) => return Ok(Reply::new(status, bytes.to_vec())),
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        // Closed, in whatever order, without the message that was awaited.
        Err(Outcome::Reset.into())
    }
}

/// What a WebSocket error counts as.
fn lost(error: &Error) -> Lost {
    use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
    if let Error::Http(response) = error {
        let saw = Some(format!("status {} in place of 101", response.status().as_u16()));
        return Lost { outcome: Outcome::Status, saw };
    }
    if let Error::Io(error) = error {
        return broken(error).into();
    }
    let is_cut_off = matches!(
        error,
        Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete
            )
    );
    let outcome = if matches!(error, Error::Capacity(CapacityError::MessageTooLong { .. })) {
        Outcome::TooLarge
    } else if is_cut_off {
        Outcome::Reset
    } else {
        Outcome::Protocol
    };
    outcome.into()
}
