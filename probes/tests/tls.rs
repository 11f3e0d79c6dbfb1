//! TLS: whom a probe trusts, what it asks for and shows, and handshakes that misbehave.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::net::SocketAddr;

use common::certificates::{Authority, Identity};
use common::service::{answer, serving_tls, speak};
use common::{Then, came_to, plan, say, sentence, server, target, tick_of};
use policies::{Outcome, TargetTick};
use probes::{Order, OrderError};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;

const HTTP: &str = "http: { path: / }";
const TLS: &str = "tls: {}";
const ADDRESS: &[&str] = &["127.0.0.1"];

/// What stands behind the references of a policy.
struct Files<'a> {
    roots: &'a Authority,
    shows: Option<&'a Identity>,
}

/// One tick of this probe, with what it trusts and shows.
async fn tick(probe: &str, address: SocketAddr, files: &Files<'_>) -> TargetTick {
    let mut tls = "roots: 'file:/ca.pem'".to_owned();
    if files.shows.is_some() {
        tls.push_str(", certificate: 'file:/own.pem', key: { secret: 'env:KEY' }");
    }
    // A probe may bring its own.
    let probe = if probe.contains("client-tls") {
        format!("{{ {} }}", probe.replace("client-tls: {", &format!("client-tls: {{ {tls},")))
    } else {
        format!("{{ {probe}, client-tls: {{ {tls} }} }}")
    };
    let lookup = |reference: &str| match (reference, files.shows) {
        ("file:/ca.pem", _) => Ok(files.roots.pem()),
        ("file:/own.pem", Some(own)) => Ok(own.chain.clone()),
        ("env:KEY", Some(own)) => Ok(own.key.clone()),
        _ => Err(format!("no {reference}")),
    };
    tick_of(Order::new(plan(&probe, vec![target(address, true)], vec![]), &lookup).unwrap()).await
}

/// A service that answers with the name it was asked for and the host of the request.
async fn naming(acceptor: TlsAcceptor) -> SocketAddr {
    let acceptor = std::sync::Arc::new(acceptor);
    server(move |stream| {
        let acceptor = std::sync::Arc::clone(&acceptor);
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let name = stream.get_ref().1.server_name().unwrap_or("no name").to_owned();
            speak(stream, false, move |request| {
                let host = request.headers().get("host").map(|host| host.to_str().unwrap());
                let said = format!("{name} {}", host.unwrap_or_default());
                async move { answer(200, said) }
            })
            .await;
        }
    })
    .await
}

/// What a certificate of these names, valid for so long, comes to for a probe.
async fn check(probe: &str, names: &[&str], days: i32, expected: Outcome) -> TargetTick {
    let roots = Authority::new();
    let address = naming(roots.issue(names, days).acceptor(&[], None)).await;
    let tick = tick(probe, address, &Files { roots: &roots, shows: None }).await;
    came_to(&tick, expected);
    tick
}

#[tokio::test]
async fn only_a_valid_certificate_of_a_trusted_authority_is_good() {
    for probe in [HTTP, TLS] {
        check(probe, ADDRESS, 30, Outcome::Ok).await;
        check(probe, ADDRESS, -2, Outcome::Tls).await;
        check(probe, &["127.0.0.2", "shop.example.com"], 30, Outcome::Tls).await;
        // By an authority of the same name that is another.
        let (roots, other) = (Authority::new(), Authority::new());
        let address = naming(other.issue(ADDRESS, 30).acceptor(&[], None)).await;
        came_to(&tick(probe, address, &Files { roots: &roots, shows: None }).await, Outcome::Tls);
    }
}

#[tokio::test]
async fn a_certificate_that_signed_itself_or_is_not_valid_yet_is_not_good() {
    for probe in [HTTP, TLS] {
        let roots = Authority::new();
        for identity in [Authority::of_its_own(ADDRESS), roots.issue_for_later(ADDRESS)] {
            let address = naming(identity.acceptor(&[], None)).await;
            let files = Files { roots: &roots, shows: None };
            came_to(&tick(probe, address, &files).await, Outcome::Tls);
        }
    }
}

#[tokio::test]
async fn the_name_is_the_hosts_unless_the_policy_says_another() {
    let http = |more: &str, said: &str| {
        format!("http: {{ path: /, {more} expect: {{ text: '{said}' }} }}")
    };
    let shop = &["shop.example.com"];
    let own = http("", "no name 127.0.0.1:");
    check(&own, ADDRESS, 30, Outcome::Ok).await;
    let host = http("host: shop.example.com,", "shop.example.com shop.example.com");
    check(&host, shop, 30, Outcome::Ok).await;
    // A port belongs to the host, not to the name.
    let port = http("host: 'shop.example.com:8443',", "shop.example.com shop.example.com:8443");
    check(&port, shop, 30, Outcome::Ok).await;
    let named = format!("{host}, client-tls: {{ server-name: api.example.com }}");
    check(&named, shop, 30, Outcome::Tls).await;
    let named = named.replace("'shop.example.com ", "'api.example.com ");
    check(&named, &["api.example.com"], 30, Outcome::Ok).await;
    check("tls: { host: shop.example.com }", shop, 30, Outcome::Ok).await;
    check("tls: { host: shop.example.com }", ADDRESS, 30, Outcome::Tls).await;
}

#[tokio::test]
async fn days_to_the_end_of_a_certificate_are_reported_and_expected() {
    for probe in [HTTP, TLS] {
        assert_eq!(check(probe, ADDRESS, 30, Outcome::Ok).await.certificate_days, Some(30));
        assert_eq!(check(probe, ADDRESS, 0, Outcome::Ok).await.certificate_days, Some(0));
    }
    let http = "http: { path: /, expect: { certificate-days: 14 } }";
    for probe in [http, "tls: { expect: { certificate-days: 14 } }"] {
        check(probe, ADDRESS, 14, Outcome::Ok).await;
        let tick = check(probe, ADDRESS, 13, Outcome::Expectation).await;
        assert_eq!(sentence(&tick), "certificate-days is at least 14: saw 13.0");
        assert_eq!(tick.certificate_days, Some(13));
        // A connection used again has the certificate that it was opened with.
        let again = format!("{probe}, connections: reuse");
        check(&again, ADDRESS, 14, Outcome::Ok).await;
        check(&again, ADDRESS, 13, Outcome::Expectation).await;
    }
}

/// What a target that asks for a certificate of `clients` makes of one that shows this.
async fn asked(probe: &str, clients: &Authority, shows: Option<&Identity>, expected: Outcome) {
    let roots = Authority::new();
    let address = naming(roots.issue(ADDRESS, 30).acceptor(&[], Some(clients))).await;
    came_to(&tick(probe, address, &Files { roots: &roots, shows }).await, expected);
}

#[tokio::test]
async fn a_target_that_asks_for_a_certificate_is_shown_one() {
    let (clients, others) = (Authority::new(), Authority::new());
    let own = clients.issue(&["gate"], 30);
    asked(HTTP, &clients, Some(&own), Outcome::Ok).await;
    asked(TLS, &clients, Some(&own), Outcome::Ok).await;
    asked(HTTP, &clients, None, Outcome::Tls).await;
    asked(HTTP, &clients, Some(&others.issue(&["gate"], 30)), Outcome::Tls).await;
    asked(HTTP, &clients, Some(&clients.issue(&["gate"], -2)), Outcome::Tls).await;
    let socket = "websocket: { path: / }";
    asked(socket, &clients, None, Outcome::Tls).await;
}

#[tokio::test]
async fn what_cannot_be_trusted_or_shown_is_refused_before_the_first_probe() {
    let authority = Authority::new();
    let (one, two) = (authority.issue(&["one"], 30), authority.issue(&["two"], 30));
    let refused = |roots: &str, chain: &str, key: &str| {
        let probe = "{ tls: {}, client-tls: { roots: 'env:R', certificate: 'env:C', \
                     key: { secret: 'env:K' } } }";
        let nobody = target("127.0.0.1:1".parse().unwrap(), true);
        let order = Order::new(plan(probe, vec![nobody], vec![]), &|reference: &str| {
            Ok(match reference {
                "env:R" => roots.to_owned(),
                "env:C" => chain.to_owned(),
                _ => key.to_owned(),
            })
        });
        match order {
            Ok(_) => None,
            Err(OrderError::Tls { what, reason }) => {
                assert!(key.is_empty() || !reason.contains(key.trim()), "{reason}");
                Some(what)
            }
            Err(other) => panic!("{other}"),
        }
    };
    let roots = authority.pem();
    assert_eq!(refused(&roots, &one.chain, &one.key), None);
    assert_eq!(refused("no pem", &one.chain, &one.key), Some("roots"));
    assert_eq!(refused("", &one.chain, &one.key), Some("roots"));
    assert_eq!(refused(&roots, "no pem", &one.key), Some("certificate"));
    assert_eq!(refused(&roots, &one.chain, "no pem"), Some("key"));
    assert_eq!(refused(&roots, &one.chain, &two.key), Some("key"));
}

#[tokio::test]
async fn a_handshake_that_breaks_off_is_told_apart_from_one_that_fails() {
    let authority = Authority::new();
    let roots = Files { roots: &authority, shows: None };
    for probe in [HTTP, TLS] {
        let stalls = server(|mut stream| async move {
            let _hello = stream.read(&mut [0; 2048]).await;
            say(stream, &[], Then::Stall).await;
        });
        came_to(&tick(probe, stalls.await, &roots).await, Outcome::Timeout);
        let closes = server(|mut stream| async move {
            let _hello = stream.read(&mut [0; 2048]).await;
        });
        came_to(&tick(probe, closes.await, &roots).await, Outcome::Reset);
        // A whole record of garbage, a fatal alert, a record that is never whole, a record byte by byte.
        let says = |bytes: &'static [u8], then: Then| {
            server(move |mut stream| async move {
                let _hello = stream.read(&mut [0; 2048]).await;
                say(stream, &[bytes.to_vec()], then).await;
            })
        };
        let garbage = says(b"\x16\x03\x03\x00\x08garbage!", Then::Stall);
        came_to(&tick(probe, garbage.await, &roots).await, Outcome::Tls);
        let alert = says(b"\x15\x03\x03\x00\x02\x02\x28", Then::Stall);
        came_to(&tick(probe, alert.await, &roots).await, Outcome::Tls);
        let short = says(b"\x16\x03\x03\x40\x00\x02", Then::Stall);
        came_to(&tick(probe, short.await, &roots).await, Outcome::Timeout);
        let dripping = says(b"\x16\x03\x03\x40\x00\x02\x00\x00\x7a\x03", Then::Drip);
        came_to(&tick(probe, dripping.await, &roots).await, Outcome::Timeout);
    }
}

#[tokio::test]
async fn a_handshake_alone_needs_no_common_protocol() {
    let roots = Authority::new();
    let acceptor = roots.issue(ADDRESS, 30).acceptor(&["mqtt"], None);
    let address = serving_tls(acceptor, |_request| async { answer(200, "") }).await;
    let files = Files { roots: &roots, shows: None };
    came_to(&tick(TLS, address, &files).await, Outcome::Ok);
    came_to(&tick(HTTP, address, &files).await, Outcome::Tls);
}
