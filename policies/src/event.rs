//! What can happen to a run, and what it can ask for: closed enums both ways.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::deployment::Deployment;
use crate::moment::Moment;
use crate::overrides::Override;
use crate::plan::Plan;
use crate::reading::Reading;
use crate::sample::Blame;
use crate::tick::Tick;

/// A fact the shell reports. Facts are written to the journal before they are acted on, so a run can
/// be resumed and replayed from them alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The deployment was resolved, the first time or again.
    Resolved {
        /// What was found.
        deployment: Box<Deployment>,
        /// The policy for it, from the folder as it was then.
        policy: PolicyInForce,
    },
    /// The deployment was resolved again and is as it was.
    Unchanged,
    /// The deployment could not be resolved this time.
    Unresolved {
        /// Why.
        trouble: Trouble,
    },
    /// A tick of probes is complete.
    Ticked {
        /// What they came to.
        tick: Box<Tick>,
    },
    /// Somebody else measured something.
    Read {
        /// What.
        reading: Box<Reading>,
    },
    /// A moment asked for has come.
    Woke,
    /// A further question of the same deployment judges from here on.
    TakenOver,
    /// The deployment ended by other hands.
    Ended {
        /// The status AWS gives.
        status: String,
    },
    /// The answer is where it belongs.
    Delivered {
        /// How AWS took it.
        delivery: Delivery,
    },
    /// The answer did not get there this time.
    Undelivered {
        /// Why.
        trouble: Trouble,
    },
    /// A person says what is to become of it. What would be refused is not reported.
    Overridden {
        /// What, who and why.
        said: Override,
    },
    /// Gate restarted; what was under way must be taken up again.
    Resumed,
}

/// The policy a deployment is judged by, as it was when the deployment was resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "kebab-case")]
pub enum PolicyInForce {
    /// This one. The text is kept so that a record explains and replays itself.
    Chosen {
        /// Its file name.
        file: String,
        /// Its text.
        text: String,
    },
    /// None applies.
    Unmatched,
    /// Several apply equally well.
    Tied {
        /// Their file names.
        files: Vec<String>,
    },
    /// The one that would apply is broken.
    Broken {
        /// `file:line:column: message` of each fault.
        faults: Vec<String>,
    },
}

/// Why something did not work, and whose fault it is. Never the release's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Whose fault.
    pub blame: Blame,
    /// Whether trying again is pointless unless somebody changes something.
    pub lasting: bool,
    /// What was attempted, on what, and the cause.
    pub what: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "delivery", rename_all = "kebab-case")]
pub enum Delivery {
    /// Confirmed by whoever asked.
    Confirmed,
    /// The event was completed already: it timed out, somebody stopped it, or an earlier try got through.
    AlreadyCompleted,
    /// The deployment group does not roll back by itself, so the deployment was stopped with rollback.
    Stopped,
    /// Nobody waits for it any more.
    TooLate {
        /// Why it could not be delivered in time.
        reason: String,
    },
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed => f.write_str("confirmed"),
            Self::AlreadyCompleted => f.write_str("already completed"),
            Self::Stopped => f.write_str("deployment stopped with rollback"),
            Self::TooLate { reason } => write!(f, "not delivered: {reason}"),
        }
    }
}

/// Something the shell must do. It never asks back.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Resolve the deployment after this wait and report what came of it.
    Resolve {
        /// Time to wait first.
        after: Duration,
    },
    /// Probe by this plan from now on; replaces an earlier plan without losing a tick.
    Probe(Box<Plan>),
    /// Stop probing.
    StopProbing,
    /// Write the decision down, then deliver it after this wait and report what came of it.
    Answer {
        /// What to say and why.
        decision: Box<Decision>,
        /// Stop the deployment with rollback, because its group would not roll back by itself.
        stop_deployment: bool,
        /// Time to wait first: zero, or longer after each failure.
        after: Duration,
        /// Not to be sent from this moment on, when whoever asked has stopped waiting: it is undelivered.
        until: Option<Moment>,
    },
    /// Stop the deployment with rollback after this wait and report what came of it.
    Veto {
        /// Why.
        decision: Box<Decision>,
        /// Time to wait first.
        after: Duration,
    },
    /// Tell these SNS topics of what was just delivered. Asked for once, by the fact that it was: a restart
    /// does not repeat it.
    Notify {
        /// Their ARNs.
        topics: Vec<String>,
    },
    /// Report [`Event::Woke`] at this moment.
    WakeAt(Moment),
    /// The run is over.
    Close,
}

impl Action {
    /// Name of the kind, for tables and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "resolve",
            Self::Probe(_) => "probe",
            Self::StopProbing => "stop-probing",
            Self::Answer { .. } => "answer",
            Self::Veto { .. } => "veto",
            Self::Notify { .. } => "notify",
            Self::WakeAt(_) => "wake-at",
            Self::Close => "close",
        }
    }
}
