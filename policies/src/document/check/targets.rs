//! The addresses a policy names.

use super::super::fault::FaultCode;
use super::super::shape;
use super::super::tree::Node;
use super::Faults;
use super::fields::{self, Fields};
use crate::address;
use crate::deployment::Target;
use crate::policy::{Probe, Targets};

/// Addresses of one arm: written by hand, they are few.
const TARGETS_MAX: usize = 50;

/// Reads the addresses of both arms; `probe` says how they are told apart.
pub(super) fn targets(node: &Node, probe: Option<&Probe>, faults: &mut Faults<'_>) -> Targets {
    let Some(fields) = Fields::of(node, &shape::TARGETS, faults) else { return Targets::default() };
    let green = arm(&fields, "green", &[], faults);
    // The same address is another target where green's requests alone carry a header that leads there.
    let routed = probe.is_none_or(|probe| !probe.script.green_headers.is_empty());
    let blue = arm(&fields, "blue", if routed { &[] } else { &green }, faults);
    Targets { green, blue }
}

fn arm(
    fields: &Fields<'_>,
    key: &str,
    elsewhere: &[Target],
    faults: &mut Faults<'_>,
) -> Vec<Target> {
    let Some(node) = fields.optional(key) else { return Vec::new() };
    let written = fields::list(node);
    if written.is_empty() || written.len() > TARGETS_MAX {
        let message = format!("`{key}` has 1 to {TARGETS_MAX} addresses");
        let help = "write `[ \"http://host:port\" ]`, or leave the key out";
        faults.add(FaultCode::G0004, &node.place, message, help);
    }
    let mut found: Vec<Target> = Vec::new();
    for node in written.iter().take(TARGETS_MAX) {
        let Some(url) = fields::text(node, faults) else { continue };
        let target = match address::target(&url) {
            Ok(target) => target,
            Err(reason) => {
                // What is wrong; what to write.
                let (message, help) = reason.rsplit_once("; ").unwrap_or((&reason, ""));
                faults.add(FaultCode::G0004, &node.place, message, help);
                continue;
            }
        };
        let same = |other: &&Target| (&other.host, other.port) == (&target.host, target.port);
        if found.iter().any(|other| same(&other)) {
            let message = format!("`{url}` is there twice");
            faults.add(FaultCode::G0008, &node.place, message, "remove one of them");
        } else if elsewhere.iter().any(|other| same(&other)) {
            let message =
                format!("`{url}` is green as well, so that it would be compared with itself");
            let help = "write the address of the release that runs now, or leave `blue` out";
            faults.add(FaultCode::G0008, &node.place, message, help);
        } else {
            found.push(target);
        }
    }
    found
}
