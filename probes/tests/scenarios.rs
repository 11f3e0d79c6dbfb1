//! Requests in a row: values, cookies and redirects, what a failing step means, what is never said.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use common::service::{Answer, answer, serving};
use common::{came_to, order, plan, sentence, server, target};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use policies::{Outcome, TargetTick};
use probes::Prober;

/// Login gives a token, a cookie and the basket's name; the basket a form; all of one customer.
const BUY: &str = "{ scenarios: [ { name: buy, cookies: true, steps: [
    { name: login, http: { path: '/login?u=${unique}', method: POST, body: 'I am ${unique}' },
      take: { token: { json: $.token }, basket: { header: X-Basket } } },
    { name: basket, http: { path: '/basket/${basket}', headers: { x-token: 'T ${token}' } },
      take: { form: { regex: 'form=<([^>]*)>' } } },
    { name: pay, http: { path: /pay, method: POST, body: 'pay ${form}' } } ] } ] }";

fn with(mut answer: Answer, headers: &[(&'static str, &str)]) -> Answer {
    for (name, value) in headers {
        answer.headers_mut().append(*name, value.parse().unwrap());
    }
    answer
}

/// The shop, which knows its customers by what it gave them and refuses everything else.
async fn shop(request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let header = |name: &str| {
        head.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default().to_owned()
    };
    let customer = header("cookie").strip_prefix("session=").unwrap_or_default().to_owned();
    let query = head.uri.query().unwrap_or_default();
    match head.uri.path() {
        // Nobody comes with the cookie of another probe.
        "/login" if customer.is_empty() => {
            let customer = query.strip_prefix("u=").unwrap();
            assert_eq!(body, format!("I am {customer}"));
            let ok = answer(200, format!("{{\"token\":\"t-{customer}\"}}"));
            let cookie = format!("session={customer}; Path=/; HttpOnly");
            with(ok, &[("set-cookie", &cookie), ("x-basket", &format!("b-{customer}"))])
        }
        path if path == format!("/basket/b-{customer}") => {
            let sound = header("x-token") == format!("T t-{customer}");
            answer(if sound { 200 } else { 403 }, format!("<html>form=<f-{customer}>"))
        }
        "/pay" => answer(if body == format!("pay f-{customer}") { 201 } else { 403 }, "paid"),
        _ => answer(404, ""),
    }
}

#[tokio::test]
async fn values_and_cookies_go_from_step_to_step_and_no_further() {
    let address = serving(false, shop).await;
    let tick = common::probe(BUY, target(address, false)).await;
    came_to(&tick, Outcome::Ok);
    let names: Vec<&str> = tick.signals.keys().map(String::as_str).collect();
    assert_eq!(names, ["buy", "buy/basket", "buy/login", "buy/pay"]);
    for part in tick.signals.values() {
        came_to(part, Outcome::Ok);
    }
    // Without cookies the shop knows nobody.
    let forgetful = BUY.replace("cookies: true", "cookies: false");
    let tick = common::probe(&forgetful, target(address, false)).await;
    came_to(&tick, Outcome::Status);
}

/// Signal → (judged, bad), where the shop is like itself but for this.
async fn broken(
    change: impl Fn(&str) -> Option<Answer> + Clone + Send + Sync + 'static,
) -> (TargetTick, Vec<(String, u64)>) {
    let address = serving(false, move |request| {
        let changed = change(request.uri().path());
        async move {
            match changed {
                Some(answer) => answer,
                None => shop(request).await,
            }
        }
    });
    let tick = common::probe(BUY, target(address.await, false)).await;
    let bad = |(name, part): (&String, &TargetTick)| {
        assert_eq!(part.due, 10);
        (name.clone(), part.bad())
    };
    let bad = tick.signals.iter().map(bad).collect();
    (tick, bad)
}

#[tokio::test]
async fn a_failing_step_stops_the_rest_and_is_bad_by_itself_and_for_the_whole() {
    let bad = |expected: &[(&str, u64)]| -> Vec<(String, u64)> {
        expected.iter().map(|(name, bad)| ((*name).to_owned(), *bad)).collect()
    };
    let at_basket = bad(&[("buy", 10), ("buy/basket", 10), ("buy/login", 0)]);
    let at_login = bad(&[("buy", 10), ("buy/login", 10)]);

    let (tick, seen) = broken(|path| path.starts_with("/basket").then(|| answer(500, ""))).await;
    came_to(&tick, Outcome::Status);
    assert_eq!((sentence(&tick).as_str(), seen), ("basket: status", at_basket.clone()));
    assert_eq!(tick.statuses.get(&500), Some(&10));

    let (tick, seen) = broken(|path| (path == "/login").then(|| answer(200, "{}"))).await;
    came_to(&tick, Outcome::Expectation);
    let saw = "take token: nothing at $.token";
    assert_eq!((sentence(&tick), seen), (format!("login: {saw}"), at_login.clone()));
    assert_eq!(sentence(&tick.signals["buy/login"]), saw);

    let (tick, _) =
        broken(|path| (path == "/login").then(|| answer(200, "{\"token\":\"t\"}"))).await;
    assert_eq!(sentence(&tick), "login: take basket: nothing at header x-basket");
    let (tick, _) =
        broken(|path| path.starts_with("/basket").then(|| answer(200, "form=none"))).await;
    assert_eq!(sentence(&tick), "basket: take form: nothing at /form=<([^>]*)>/");

    // Values that can stand in no header and no path.
    let login = |token: &'static str, basket: &'static str| {
        broken(move |path| {
            (path == "/login").then(|| with(answer(200, token), &[("x-basket", basket)]))
        })
    };
    let (tick, seen) = login("{\"token\":\"a\\nx-evil: 1\"}", "b").await;
    came_to(&tick, Outcome::Expectation);
    let saw = "basket: a value taken from an answer cannot stand in header x-token";
    assert_eq!((sentence(&tick).as_str(), seen), (saw, at_basket.clone()));
    let (tick, seen) = login("{\"token\":\"t\"}", "a b").await;
    came_to(&tick, Outcome::Expectation);
    let saw = "basket: a value taken from an answer cannot stand in the path";
    assert_eq!((sentence(&tick).as_str(), seen), (saw, at_basket));
    // One that is too long to be a value.
    let long: &'static str = Box::leak(format!("{{\"token\":\"{}\"}}", "x".repeat(9000)).into());
    let (tick, _) = login(long, "b").await;
    assert_eq!(sentence(&tick), "login: take token: nothing at $.token");
}

#[tokio::test]
async fn scenarios_are_chosen_by_weight_and_no_two_probes_share_a_unique_id() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let address = serving(false, move |request| {
        noted.lock().unwrap().push(request.uri().path().to_owned());
        async { answer(200, "") }
    })
    .await;
    let one = |name: &str, weight: u32| {
        let step = format!("{{ name: step, http: {{ path: '/{name}/${{unique}}' }} }}");
        format!("{{ name: {name}, weight: {weight}, steps: [ {step} ] }}")
    };
    let probe = format!("{{ scenarios: [ {}, {} ] }}", one("often", 3), one("seldom", 1));
    let here = || vec![target(address, false)];
    let prober = Prober::start().unwrap();
    let mut session = prober.begin(order(plan(&probe, here(), here())));
    let (mut often, mut seldom) = (0, 0);
    for _ in 0..4 {
        let tick = session.tick().await.unwrap();
        for arm in [Some(&tick.green), tick.blue.as_ref()].into_iter().flatten() {
            let total = arm.total();
            let due = |name: &str| total.signals.get(name).map_or(0, |part| part.due);
            assert_eq!(due("often") + due("seldom"), total.due);
            (often, seldom) = (often + due("often"), seldom + due("seldom"));
        }
    }
    assert!((56..=64).contains(&often), "{often} of 80, {seldom} seldom");
    drop(session);
    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 80);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "every id is new");
}

/// What an `http` probe comes to at a service that redirects.
async fn redirected(http: &str, expected: Outcome) {
    let sent_elsewhere = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&sent_elsewhere);
    let elsewhere = server(move |_stream| {
        counting.fetch_add(1, Ordering::Relaxed);
        async {}
    });
    let elsewhere = elsewhere.await;
    let other = format!("http://{elsewhere}/new");
    let relative = format!("//{elsewhere}/new");
    let address = serving(false, move |request: Request<Incoming>| {
        let host = request.headers().get("host").unwrap().to_str().unwrap().to_owned();
        let (other, relative) = (other.clone(), relative.clone());
        async move {
            let path = request.uri().path().to_owned();
            let method = request.method().to_string();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let to = |status, location: &str| with(answer(status, ""), &[("location", location)]);
            match path.as_str() {
                "/old" => to(302, "/new"),
                "/here" => to(301, &format!("http://{host}/new")),
                "/two" => to(302, "old"),
                "/same" => to(307, "/new"),
                "/loop" => to(302, "/loop"),
                "/other" => to(302, &other),
                "/relative" => to(302, &relative),
                "/secure" => to(302, &format!("https://{host}/new")),
                "/garbled" => to(302, "http://[::"),
                "/nowhere" => answer(302, ""),
                _ => answer(200, format!("{method} {}", body.len())),
            }
        }
    });
    let probe = format!("{{ http: {{ {http} }} }}");
    let tick = common::probe(&probe, target(address.await, false)).await;
    came_to(&tick, expected);
    assert_eq!(sent_elsewhere.load(Ordering::Relaxed), 0, "{http}");
}

#[tokio::test]
async fn redirects_are_followed_as_often_as_asked_and_never_to_another_service() {
    let get = "expect: { text: GET 0 }";
    for (path, redirects, expected) in [
        ("/old", 0, Outcome::Status),
        ("/old", 1, Outcome::Ok),
        ("/here", 1, Outcome::Ok),
        ("/two", 1, Outcome::Status),
        ("/two", 2, Outcome::Ok),
        ("/loop", 10, Outcome::Status),
        ("/other", 5, Outcome::Status),
        ("/relative", 5, Outcome::Status),
        ("/secure", 5, Outcome::Status),
        ("/garbled", 5, Outcome::Status),
        ("/nowhere", 5, Outcome::Status),
    ] {
        redirected(&format!("path: {path}, redirects: {redirects}, {get}"), expected).await;
    }
    let post = "method: POST, body: four, redirects: 1";
    redirected(&format!("path: /old, {post}, expect: {{ text: GET 0 }}"), Outcome::Ok).await;
    redirected(&format!("path: /same, {post}, expect: {{ text: POST 4 }}"), Outcome::Ok).await;
}

#[tokio::test]
async fn a_cookie_set_on_the_way_is_sent_where_a_redirect_leads() {
    let address = serving(false, |request: Request<Incoming>| async move {
        let has = request.headers().get("cookie").is_some_and(|cookie| cookie == "seen=1");
        match (request.uri().path(), has) {
            ("/in", false) => with(answer(302, ""), &[("location", "/"), ("set-cookie", "seen=1")]),
            ("/", true) => answer(200, ""),
            _ => answer(403, ""),
        }
    });
    let steps = "[ { name: in, http: { path: /in, redirects: 1 } } ]";
    let probe = format!("{{ scenarios: [ {{ name: a, cookies: true, steps: {steps} }} ] }}");
    came_to(&common::probe(&probe, target(address.await, false)).await, Outcome::Ok);
}
