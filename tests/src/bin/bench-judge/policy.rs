//! The policies of gate that the releases are judged by, as somebody would write them.

use crate::profiles::{Objective, Profile, Watch, percent};

/// What a policy that compares with blue says.
const VERSUS: &str = "  - errors: { versus: blue, floor: 0.1% }\n";

/// A policy: what it is called in a table, and its text.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Row of a table.
    pub name: String,
    /// The document.
    pub text: String,
    /// Whether it is given blue's probes.
    pub sees_blue: bool,
}

/// The absolute objective where there is no blue, and the one beside blue.
pub fn apart(profile: &Profile) -> Vec<Policy> {
    let absolute = Policy {
        name: "gate".to_owned(),
        text: document(profile, &at_most(profile.objective)),
        sees_blue: false,
    };
    vec![absolute, seeing_blue("gate, versus blue", document(profile, VERSUS))]
}

/// Every policy where there is a blue to be seen.
pub fn beside_blue(profile: &Profile) -> Vec<Policy> {
    let at_most = at_most(profile.objective);
    let both = format!("{at_most}{VERSUS}");
    [
        ("gate, absolute objective", at_most.as_str()),
        ("gate, versus blue", VERSUS),
        ("gate, both objectives", &both),
    ]
    .map(|(name, objectives)| seeing_blue(name, document(profile, objectives)))
    .into()
}

/// Latency beside blue.
pub fn latency(rate: u32) -> Policy {
    let text = format!(
        "gate: v1\nprobe: {{ http: {{ path: / }}, rate: {rate}/s }}\nobjectives:\n  \
        - latency: {{ quantile: p99, versus: blue, at-most: +20% }}\n"
    );
    seeing_blue("gate", text)
}

fn seeing_blue(name: &str, text: String) -> Policy {
    Policy { name: name.to_owned(), text, sees_blue: true }
}

fn at_most(objective: Objective) -> String {
    format!(
        "  - errors: {{ at-most: {}, unacceptable: {} }}\n",
        percent(objective.acceptable).replace(' ', ""),
        percent(objective.unacceptable).replace(' ', "")
    )
}

fn document(profile: &Profile, objectives: &str) -> String {
    let decide = match profile.watch {
        Watch::Hour => "decide: { at-least: 60m, deadline: 61m }\n",
        Watch::TenMinutes => "decide: { at-least: 598s, deadline: 10m }\n",
        Watch::Default => "",
    };
    let rate = profile.rate;
    format!(
        "gate: v1\nprobe: {{ http: {{ path: / }}, rate: {rate}/s }}\nobjectives:\n{objectives}{decide}"
    )
}
