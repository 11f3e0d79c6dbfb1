//! The deciding core of gate: facts in, decisions out.
//!
//! Nothing here does anything. There is no IO, clock, randomness, async or environment: `Run::step`
//! takes an [`Event`] and the [`Moment`] it happened at and returns the [`Action`]s to perform. So a
//! recorded run replays to the same decision bit for bit, and the whole life of a question is tested
//! without a runtime or a socket. `clippy.toml` beside this crate enforces it.
//!
//! In reading order: a [`document`] becomes a [`Policy`]; a question becomes a [`Deployment`];
//! a [`Plan`] is probed and comes back as [`Tick`]s; [`evidence`] turns ticks into numbers; [`Run`]
//! folds them into a [`Decision`].

pub mod address;
pub mod document;
pub mod policy;
pub mod reference;
pub mod selector;
pub mod units;

pub mod deployment;
pub mod moment;
pub mod plan;
pub mod reply;

pub mod histogram;
pub mod sample;
pub mod tick;

pub mod evidence;
pub mod judge;
pub mod reading;
pub mod verdict;

pub mod decision;
pub mod event;
pub mod overrides;
pub mod phase;
pub mod report;
pub mod run;
pub mod snapshot;

pub mod forecast;
pub mod replay;

pub use decision::{Answer, Basis, Decision};
pub use deployment::{Arm, Deployment, Stage, Target};
pub use document::{Fault, PolicyFile, PolicySet};
pub use event::{Action, Delivery, Event, PolicyInForce, Trouble};
pub use histogram::Histogram;
pub use moment::Moment;
pub use overrides::{Override, Refusal, Wish};
pub use phase::Phase;
pub use plan::Plan;
pub use policy::Policy;
pub use reading::Reading;
pub use report::Report;
pub use run::{Question, Run};
pub use sample::{Blame, Outcome, Sample};
pub use tick::{ArmTick, TargetTick, Tick};
pub use verdict::Verdict;
