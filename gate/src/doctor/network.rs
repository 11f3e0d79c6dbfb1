//! Whether targets and the daemon can be reached from here.

use std::io;
use std::time::Duration;

use http_body_util::Full;
use hyper::{Request, StatusCode};
use policies::address::is_forbidden;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::facts::{Facts, Group};
use super::finding::Area;
use super::{Finding, Level, Visit, together};
use crate::aws::balancing::Registered;
use crate::cli::story;
use crate::client::Client;
use crate::shell::Doing;

/// Targets of one group that are tried: one that answers shows that the way is open.
const TARGETS_TRIED: usize = 3;
/// For the daemon's answer.
const DAEMON_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn targets(visit: &Visit, facts: &Facts) -> Vec<Finding> {
    let of = |group| -> Doing<'_, Vec<Finding>> { Box::pin(of_group(visit, group)) };
    let found: Vec<Finding> =
        together(facts.groups.iter().map(of).collect()).await.into_iter().flatten().collect();
    if found.is_empty() && !facts.groups.is_empty() {
        let unread = facts.groups.iter().any(|group| group.registered.is_none());
        let (why, fix) = if unread {
            (
                "which are registered could not be read: see what is said of `DescribeTargetHealth`",
                None,
            )
        } else {
            let fix = Some("run this again while the service runs".to_owned());
            ("none is registered with an address of its own", fix)
        };
        return vec![Finding::untested(Area::Targets, "whether targets can be reached", why, fix)];
    }
    found
}

async fn of_group(visit: &Visit, group: &Group) -> Vec<Finding> {
    let Group { name, facts, registered } = group;
    if facts.target_type != "ip" {
        return vec![Finding::untested(
            Area::Targets,
            format!("targets of {name}, which are of type {}", facts.target_type),
            "they have no address of their own: gate reaches them by the listener",
            None,
        )];
    }
    let all = registered.as_deref().unwrap_or_default();
    let live = all.iter().filter(|target| target.state != "draining");
    let one = |target: &Registered| -> Doing<'_, (String, io::Result<()>)> {
        let address = (target.id.clone(), target.port);
        let shown = format!("{}:{}", target.id, target.port);
        // What is never probed is not connected to for a look either. A name is no address of a target.
        let may_be_tried = target.id.parse().is_ok_and(|address| !is_forbidden(address));
        Box::pin(async move {
            if !may_be_tried {
                return (shown, Err(io::Error::from(io::ErrorKind::Unsupported)));
            }
            let connecting = timeout(visit.connect_within, TcpStream::connect(address));
            let connected = connecting.await.unwrap_or_else(|_elapsed| {
                Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
            });
            (shown, connected.map(drop))
        })
    };
    let tried = together(live.take(TARGETS_TRIED).map(one).collect()).await;
    tried.into_iter().map(|(address, connected)| told(name, &address, connected)).collect()
}

fn told(group: &str, address: &str, connected: io::Result<()>) -> Finding {
    let Err(error) = connected else {
        return Finding::ok(Area::Targets, format!("{address} of {group} takes connections"));
    };
    if error.kind() == io::ErrorKind::Unsupported {
        return Finding::untested(
            Area::Targets,
            format!("{address} of {group}"),
            "gate never probes such an address: link-local ones serve credentials, others are no one machine's",
            Some("look at who registered it".to_owned()),
        );
    }
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return Finding::new(
            Area::Targets,
            Level::Warning,
            format!("{address} of {group} refuses connections"),
            "the way there is open, and nothing listens",
            "look at the task and at the port in the service's definition",
        );
    }
    Finding::new(
        Area::Targets,
        Level::Error,
        format!("{address} of {group} cannot be reached from here: {error}"),
        "every probe of it would fail: a first deployment is rolled back, another ends undecided",
        "let gate's security group in on the container's port; where this is not where gate runs, run it there",
    )
}

pub(super) async fn daemon(visit: &Visit) -> Vec<Finding> {
    let Some(url) = &visit.gate else {
        let fix = Some("--gate http://gate.internal:9090, where operators look".to_owned());
        let why = "nobody said where it is";
        return vec![Finding::untested(Area::Daemon, "whether the daemon answers", why, fix)];
    };
    let url = url.trim_end_matches('/');
    let request = Request::get(format!("{url}/readyz")).body(Full::default());
    let answered = match request {
        Ok(request) => {
            Client::new().send(request, DAEMON_WITHIN).await.map_err(|error| story(&error))
        }
        Err(error) => Err(error.to_string()),
    };
    let finding = match answered {
        Ok((StatusCode::OK, _)) => Finding::ok(Area::Daemon, format!("{url} is ready")),
        // The port where hooks arrive has no such page.
        Ok((StatusCode::NOT_FOUND, _)) => Finding::ok(Area::Daemon, format!("{url} answers")),
        Ok((status, _)) => Finding::new(
            Area::Daemon,
            Level::Warning,
            format!("{url} answers {status}"),
            "a daemon that stops takes no questions",
            format!("curl {url}/readyz, and its log"),
        ),
        Err(reason) => Finding::new(
            Area::Daemon,
            Level::Error,
            format!("{url} cannot be reached from here: {reason}"),
            "questions are handed to it; where the relay cannot reach it either, it fails every one",
            "start it; let whoever asks in on its port; or mend the name in --gate",
        ),
    };
    vec![finding]
}
