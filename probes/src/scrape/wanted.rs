//! What a policy wants of a service's own metrics: the selectors of its objectives.

use std::collections::BTreeSet;

use policies::policy::Counted;
use policies::selector::{Selector, SelectorError};

use super::line::Sample;

/// What the objectives of a policy want of a service's own metrics.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub(super) objectives: Vec<Need>,
    names: BTreeSet<String>,
}

/// What one objective wants.
#[derive(Clone, Debug)]
pub(super) struct Need {
    pub(super) objective: String,
    pub(super) counted: Needed,
}

#[derive(Clone, Debug)]
pub(super) enum Needed {
    Counters { bad: Selector, all: Selector },
    Histogram(Selector),
}

/// What a sample is to an objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    /// A number of bad events, of all, or of both.
    Counter { bad: bool, all: bool },
    /// Events at most this long; not a number where nothing sensible is written.
    Bucket(f64),
    /// Events of a histogram.
    Count,
}

impl Wanted {
    /// What is wanted for objectives by their names. What CloudWatch or a sidecar counts is not the
    /// service's to show.
    ///
    /// # Errors
    /// A selector that cannot be read, which the check of a policy refuses.
    pub fn of(objectives: &[(String, Counted)]) -> Result<Self, SelectorError> {
        let mut wanted = Self::default();
        for (objective, counted) in objectives {
            let counted = match counted {
                Counted::CloudWatch { .. } | Counted::Sidecars(_) => continue,
                Counted::Counters { bad, all } => {
                    Needed::Counters { bad: Selector::parse(bad)?, all: Selector::parse(all)? }
                }
                Counted::Buckets { histogram, .. } => {
                    Needed::Histogram(Selector::parse_histogram(histogram)?)
                }
            };
            wanted.names.extend(counted.names());
            wanted.objectives.push(Need { objective: objective.clone(), counted });
        }
        Ok(wanted)
    }

    /// Whether nothing of a service's own metrics is wanted.
    pub const fn is_empty(&self) -> bool {
        self.objectives.is_empty()
    }

    /// Whether samples of this name, or what is declared of it, may matter.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

impl Needed {
    fn names(&self) -> Vec<String> {
        match self {
            Self::Counters { bad, all } => vec![bad.name().to_owned(), all.name().to_owned()],
            Self::Histogram(histogram) => {
                let name = histogram.name();
                vec![name.to_owned(), format!("{name}_bucket"), format!("{name}_count")]
            }
        }
    }

    /// Metrics as they are declared.
    pub(super) fn families(&self) -> Vec<&str> {
        match self {
            Self::Counters { bad, all } => vec![bad.name(), all.name()],
            Self::Histogram(histogram) => vec![histogram.name()],
        }
    }

    pub(super) fn role(&self, sample: &Sample) -> Option<Role> {
        match self {
            Self::Counters { bad, all } => {
                let is = |selector: &Selector| {
                    selector.name() == sample.name
                        && selector.fits(|label| sample.labels.get(label))
                };
                let (bad, all) = (is(bad), is(all));
                (bad || all).then_some(Role::Counter { bad, all })
            }
            Self::Histogram(histogram) => {
                let role = match sample.name.strip_prefix(histogram.name())? {
                    "_bucket" => {
                        let bound = sample.labels.get("le").and_then(|le| le.parse::<f64>().ok());
                        Role::Bucket(bound.filter(|le| *le > f64::NEG_INFINITY).unwrap_or(f64::NAN))
                    }
                    "_count" => Role::Count,
                    _ => return None,
                };
                histogram.fits(|label| sample.labels.get(label)).then_some(role)
            }
        }
    }
}
