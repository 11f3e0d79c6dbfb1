//! TCP connections: accepted, refused, not accepted.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use common::{GET, came_to, probe, server, target};
use policies::sample::Phase;
use policies::{Outcome, Target};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const TCP: &str = "{ tcp: {} }";

#[tokio::test]
async fn a_connection_is_good() {
    let tick = probe(TCP, target(server(|stream| async move { drop(stream) }).await, false)).await;
    came_to(&tick, Outcome::Ok);
    assert_eq!(tick.phases.keys().collect::<Vec<_>>(), [&Phase::Connect]);
    // The kernel accepts for a program that never does: that is a connection, and no more than that.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sleeping = target(listener.local_addr().unwrap(), false);
    came_to(&probe(TCP, sleeping.clone()).await, Outcome::Ok);
    came_to(&probe(GET, sleeping).await, Outcome::Timeout);
    let named =
        Target { host: "localhost".into(), ..target(listener.local_addr().unwrap(), false) };
    let tick = probe(TCP, named).await;
    came_to(&tick, Outcome::Ok);
    assert!(tick.phases.contains_key(&Phase::Resolve), "{tick:?}");
}

#[tokio::test]
async fn nobody_listening_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    came_to(&probe(TCP, target(address, false)).await, Outcome::Refused);
}

#[tokio::test]
async fn a_full_backlog_is_a_connect_timeout() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Connections that nobody accepts, until the kernel lets none in.
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(common::TIMEOUT, TcpStream::connect(address)).await
    {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "this kernel lets everybody in");
    }
    for probing in [TCP, GET] {
        came_to(&probe(probing, target(address, false)).await, Outcome::ConnectTimeout);
    }
    drop((listener, waiting));
}
