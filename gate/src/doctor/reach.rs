//! Which of AWS's services answer from here, and whether the clock is right.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::finding::Area;
use super::ledger::Outcome;
use super::permissions::needs;
use super::policy::Judged;
use super::{Finding, Level, Visit};
use crate::signature::VALID_SECONDS;

/// From here on a wrong clock is worth a word: signatures of hooks are good for [`VALID_SECONDS`].
const CLOCK_MAX_SECONDS: u64 = 60;

/// What a service's VPC endpoint is called, after `com.amazonaws.REGION.`.
//= https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
fn endpoint(prefix: &str) -> &str {
    match prefix {
        "cloudwatch" => "monitoring",
        other => other,
    }
}

pub(super) fn endpoints(visit: &Visit, facts: &Facts, judged: &Judged) -> Vec<Finding> {
    let mut services: BTreeMap<&str, Vec<Outcome>> = BTreeMap::new();
    for (call, outcome) in visit.notes.0.all() {
        let prefix = call.action().split(':').next().unwrap_or_default();
        services.entry(prefix).or_default().push(outcome);
    }
    let mut answering = Vec::new();
    let mut found = Vec::new();
    for (service, outcomes) in services {
        if outcomes.iter().any(has_answered) {
            answering.push(service);
            continue;
        }
        let silent = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Unreachable(story) => Some(story.clone()),
            Outcome::Pending => Some("no answer in time".to_owned()),
            Outcome::Unclear(_)
            | Outcome::RefusedUnscoped(_)
            | Outcome::Unsigned { .. }
            | Outcome::Allowed
            | Outcome::Denied(_) => None,
        });
        match silent {
            Some(story) => {
                let is_needed = needs(visit, facts, judged, service);
                found.push(unreachable(visit, facts, (service, is_needed), story));
            }
            None => found.push(Finding::untested(
                Area::Endpoints,
                format!("whether {service} can be reached"),
                "nothing could be sent",
                None,
            )),
        }
    }
    if !answering.is_empty() {
        found.insert(
            0,
            Finding::ok(Area::Endpoints, format!("these answer: {}", answering.join(", "))),
        );
    }
    found
}

fn has_answered(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Pending | Outcome::Unreachable(_) => false,
        Outcome::Unsigned { code, .. } => {
            !matches!(code.as_str(), "NotConfigured" | "NoCredentials")
        }
        Outcome::Unclear(_)
        | Outcome::RefusedUnscoped(_)
        | Outcome::Allowed
        | Outcome::Denied(_) => true,
    }
}

fn unreachable(
    visit: &Visit,
    facts: &Facts,
    (service, is_needed): (&str, bool),
    story: String,
) -> Finding {
    let region = facts.place.region.as_deref().unwrap_or("REGION");
    let fix = if visit.has_endpoint {
        "mend the setting `aws.endpoint`, or AWS_ENDPOINT_URL".to_owned()
    } else {
        format!(
            "an interface VPC endpoint com.amazonaws.{region}.{} whose security group lets gate in on 443, or a way out by NAT",
            endpoint(service)
        )
    };
    let (level, why) = if is_needed {
        (Level::Error, story)
    } else {
        (Level::Warning, format!("the daemon can answer without it: {story}"))
    };
    Finding::new(Area::Endpoints, level, format!("{service} cannot be reached from here"), why, fix)
}

pub(super) fn clock(visit: &Visit) -> Vec<Finding> {
    let Some(ahead) = visit.aws.clock_ahead_seconds() else {
        let why = "no answer of AWS told the time";
        return vec![Finding::untested(Area::Clock, "whether the clock is right", why, None)];
    };
    let off = ahead.unsigned_abs();
    if off <= CLOCK_MAX_SECONDS {
        let what = format!("the clock is within {CLOCK_MAX_SECONDS} s of AWS's");
        return vec![Finding::ok(Area::Clock, what)];
    }
    let way = if ahead > 0 { "behind" } else { "ahead of" };
    let level = if off > VALID_SECONDS { Level::Error } else { Level::Warning };
    vec![Finding::new(
        Area::Clock,
        level,
        format!("this machine's clock is {off} s {way} AWS's"),
        format!("hooks are signed with the time, and refused from {VALID_SECONDS} s on"),
        "chronyc tracking; let it follow 169.254.169.123",
    )]
}
