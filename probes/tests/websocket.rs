//! Web sockets: opened, answered, refused, and treated badly in every phase.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{
    Then, answering, came_to, plan, probe, say, sentence, server, target, tick_of, tick_until,
    websocket_key,
};
use futures_util::{SinkExt, StreamExt};
use policies::plan::Rate;
use policies::{Outcome, TargetTick};
use probes::Order;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const OPEN: &str = "{ websocket: { path: /live } }";
const ASK: &str = "{ websocket: { path: /live, send: hello } }";

/// Frames as RFC 6455 §5.2 has them, from a server: a first byte, and less than 126 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, u8::try_from(payload.len()).unwrap()], payload].concat()
}

/// A whole text; a text's begin; a text's next part; ping; close.
const TEXT: u8 = 0x81;
const BEGIN: u8 = 0x01;
const MORE: u8 = 0x00;
const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;

/// Reads the opening request; the answer that opens it.
async fn opening(stream: &mut TcpStream) -> String {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let accept = derive_accept_key(websocket_key(&request).as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    )
}

/// A target that opens, waits for the message, and says this.
async fn saying(says: &[Vec<u8>], then: Then) -> SocketAddr {
    let says = says.to_vec();
    server(move |mut stream| {
        let says = says.clone();
        async move {
            let opened = opening(&mut stream).await;
            let _opened = stream.write_all(opened.as_bytes()).await;
            let _message = stream.read(&mut [0; 64]).await;
            say(stream, &says, then).await;
        }
    })
    .await
}

async fn check(says: &[Vec<u8>], then: Then, expected: Outcome) -> TargetTick {
    let tick = probe(ASK, target(saying(says, then).await, false)).await;
    came_to(&tick, expected);
    tick
}

#[tokio::test]
async fn open_is_good_and_so_is_the_first_message() {
    came_to(&probe(OPEN, target(saying(&[], Then::Stall).await, false)).await, Outcome::Ok);
    check(&[frame(TEXT, b"hi")], Then::Stall, Outcome::Ok).await;
    check(&[frame(TEXT, b"hi"), vec![0xff; 9]], Then::Stall, Outcome::Ok).await;
    check(&[frame(0x82, b"\xff\x00")], Then::Close, Outcome::Ok).await;
    check(&[frame(PING, b"1"), frame(PING, b""), frame(TEXT, b"hi")], Then::Stall, Outcome::Ok)
        .await;
    let large = [&[TEXT, 127, 0, 0, 0, 0, 0, 0x10, 0, 0][..], &[b'x'; 1024 * 1024]].concat();
    check(&[large], Then::Stall, Outcome::Ok).await;
    let parts = [frame(BEGIN, b"h"), frame(PING, b"1"), frame(MORE, b""), frame(0x80, b"i")];
    check(&parts, Then::Stall, Outcome::Ok).await;
}

/// Sends everything back, behind the path and two headers of the opening.
async fn echo() -> SocketAddr {
    server(|stream| async move {
        let mut opened = String::new();
        #[allow(clippy::result_large_err, reason = "the library's own callback")]
        let note = |request: &hyper::Request<()>, response| {
            let header = |name| request.headers().get(name).unwrap().to_str().unwrap();
            opened = format!("{} {} {}", request.uri(), header("host"), header("x-key"));
            Ok(response)
        };
        let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, note).await else {
            return;
        };
        while let Some(Ok(Message::Text(text))) = socket.next().await {
            let _sent = socket.send(Message::text(format!("{opened} {text}"))).await;
        }
    })
    .await
}

#[tokio::test]
async fn the_message_is_sent_and_its_answer_compared() {
    let address = echo().await;
    let ask = |host: &str, expect: &str| {
        let call = format!("path: '/live?n=1', host: {host}, send: 'say ${{number}}'");
        let probe = format!(
            "{{ websocket: {{ {call}, expect: {{ {expect} }} }}, headers: {{ x-key: {{ secret: \
             'env:K' }} }} }}"
        );
        let plan = plan(&probe, vec![target(address, false)], vec![]);
        tick_of(Order::new(plan, &|_: &str| Ok("open-sesame".to_owned())).unwrap())
    };
    let good = "regex: '^/live.n=1 shop.example.com open-sesame say [0-9]+$'";
    came_to(&ask("shop.example.com", good).await, Outcome::Ok);
    let tick = ask("other.example.com", "text: shop.example.com").await;
    came_to(&tick, Outcome::Expectation);
    for saw in tick.unmet.keys() {
        let begin = "body contains `shop.example.com`: saw `/live?n=1 other.example.com *** say ";
        assert!(saw.starts_with(begin), "{saw}");
    }
}

#[tokio::test]
async fn a_target_that_does_not_open_says_why() {
    let refused = answering(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno").await;
    let tick = probe(OPEN, target(refused, false)).await;
    came_to(&tick, Outcome::Status);
    assert_eq!(sentence(&tick), "status 404 in place of 101");
    let ok = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    came_to(&probe(OPEN, target(ok, false)).await, Outcome::Status);
    let wrong_key = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: \
                      Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    came_to(&probe(OPEN, target(answering(wrong_key).await, false)).await, Outcome::Protocol);
    let no_upgrade = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    came_to(&probe(OPEN, target(answering(no_upgrade).await, false)).await, Outcome::Protocol);
    let garbage = b"\x16\x03\x01\x02\x00garbage\r\n\r\n";
    came_to(&probe(OPEN, target(answering(garbage).await, false)).await, Outcome::Protocol);
    came_to(&probe(OPEN, target(answering(b"").await, false)).await, Outcome::Reset);
    let half = b"HTTP/1.1 101 Switching Proto";
    came_to(&probe(OPEN, target(answering(half).await, false)).await, Outcome::Reset);
    let silent = server(|stream| say(stream, &[], Then::Stall));
    came_to(&probe(OPEN, target(silent.await, false)).await, Outcome::Timeout);
    let endless = server(|mut stream| async move {
        let _read = stream.read(&mut [0; 2048]).await;
        let _status = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").await;
        while stream.write_all(b"x-more: and more and more and more\r\n").await.is_ok() {}
    });
    came_to(&probe(OPEN, target(endless.await, false)).await, Outcome::Protocol);
}

#[tokio::test]
async fn a_target_that_opens_and_misbehaves_is_named() {
    check(&[], Then::Close, Outcome::Reset).await;
    check(&[frame(CLOSE, &[])], Then::Close, Outcome::Reset).await;
    check(&[frame(CLOSE, &[0x03, 0xe8])], Then::Stall, Outcome::Reset).await;
    check(&[frame(BEGIN, b"h")], Then::Close, Outcome::Reset).await;
    check(&[], Then::Stall, Outcome::Timeout).await;
    check(&[frame(BEGIN, b"h")], Then::Stall, Outcome::Timeout).await;
    check(&[frame(BEGIN, b"h"), frame(MORE, b"again and again")], Then::Drip, Outcome::Timeout)
        .await;
    // Reserved bits, a part of nothing, a masked frame, text that is none.
    check(&[frame(0xf1, b"hi")], Then::Stall, Outcome::Protocol).await;
    check(&[frame(MORE, b"hi")], Then::Stall, Outcome::Protocol).await;
    check(&[vec![TEXT, 0x82, 1, 2, 3, 4, b'h', b'i']], Then::Stall, Outcome::Protocol).await;
    check(&[frame(TEXT, b"\xff\xfe")], Then::Stall, Outcome::Protocol).await;
    check(&[vec![0xff; 64]], Then::Stall, Outcome::Protocol).await;
}

#[tokio::test]
async fn endless_messages_are_cut() {
    // One frame that says to be of 2 MiB, and one of 2^63 bytes and more.
    let says = |length: u64| [&[TEXT, 127], &length.to_be_bytes()[..]].concat();
    check(&[says(2 << 20)], Then::Stall, Outcome::TooLarge).await;
    check(&[says(u64::MAX)], Then::Stall, Outcome::TooLarge).await;
    // Parts for ever.
    let part = [vec![MORE, 126, 0x40, 0x00], vec![b'x'; 16_384]].concat();
    check(&[frame(BEGIN, b"h"), part], Then::Repeat, Outcome::TooLarge).await;
}

#[tokio::test]
async fn chatter_without_a_message_is_cut() {
    for chatter in [frame(PING, b"ping"), frame(0x8a, &[b'x'; 100])] {
        let mut plan =
            plan(ASK, vec![target(saying(&[chatter], Then::Repeat).await, false)], vec![]);
        // Every frame costs a little, and without optimisation more.
        (plan.rate, plan.tick) = (Rate::constant(5.0), Duration::from_secs(2));
        let tick = tick_until(common::order(plan), 7).await;
        assert_eq!(u64::from(tick.due - tick.late), tick.bad(), "{tick:?}");
        assert!(tick.late < 8, "this machine is too busy to tell: {tick:?}");
    }
}
