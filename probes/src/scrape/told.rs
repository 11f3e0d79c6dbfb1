//! What operators are told of scrapes: each trouble when it begins and when it is over, not once a second.

use std::collections::BTreeMap;

use super::Notes;

/// What was said last.
#[derive(Debug)]
pub(super) struct Told {
    /// What is read of targets: `the target's metrics`.
    what: &'static str,
    /// What then happens to it, for one or for many: `is`, `are`.
    verb: &'static str,
    /// The trouble of each target, if there is one.
    targets: BTreeMap<String, Option<String>>,
    objectives: BTreeMap<String, Vec<&'static str>>,
}

impl Told {
    /// Nothing was said yet of this. A singular has `is`, a plural `are`.
    pub(super) const fn of(what: &'static str, verb: &'static str) -> Self {
        Self { what, verb, targets: BTreeMap::new(), objectives: BTreeMap::new() }
    }

    /// Takes what came of asking a target.
    pub(super) fn target(&mut self, id: &str, trouble: Option<String>) {
        if self.targets.get(id) == Some(&trouble) {
            return;
        }
        let Self { what, verb, .. } = self;
        match &trouble {
            Some(trouble) => tracing::warn!(green = id, %trouble, "{what} cannot be read"),
            None => tracing::info!(green = id, "{what} {verb} read"),
        }
        self.targets.insert(id.to_owned(), trouble);
    }

    /// Forgets targets that are there no more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.targets.retain(|id, _| is_there(id));
    }

    /// Takes how the series of each objective look.
    pub(super) fn objectives(&mut self, notes: BTreeMap<&str, Notes>) {
        for (objective, notes) in notes {
            let troubles = troubles(notes);
            if self.objectives.get(objective).is_some_and(|told| *told == troubles) {
                continue;
            }
            for trouble in &troubles {
                tracing::warn!(objective, trouble, ?notes, "metrics are not as they should be");
            }
            self.objectives.insert(objective.to_owned(), troubles);
        }
    }
}

/// What stands in the way of an objective, or takes from it.
fn troubles(notes: Notes) -> Vec<&'static str> {
    let Notes {
        bad_series: _,
        all_series,
        resets: _,
        clamped,
        left_out,
        duplicates,
        unsound,
        gauges,
    } = notes;
    let each = [
        (all_series == 0, "no series fits: is the name right?"),
        (left_out > 0, "samples are left out: more series, or longer labels, than are followed"),
        (duplicates > 0, "samples are in one answer twice: the first one counts"),
        (unsound > 0, "numbers that no counter has: scrapes with one do not count"),
        (gauges > 0, "declared as a gauge: not read as a counter"),
        (clamped > 0, "more bad events than events: `bad` is to be a part of `of`"),
    ];
    each.into_iter().filter(|(is_so, _)| *is_so).map(|(_, trouble)| trouble).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(notes: Notes, expected: &[&str]) {
        let troubles = troubles(notes);
        assert_eq!(troubles.len(), expected.len(), "{troubles:?}");
        for (trouble, words) in troubles.iter().zip(expected) {
            assert!(trouble.contains(words), "{trouble}");
        }
    }

    #[test]
    fn what_takes_from_an_objective_is_named_and_what_is_usual_is_not() {
        let sound = Notes { all_series: 2, ..Notes::default() };
        check(sound, &[]);
        check(Notes { resets: 3, ..sound }, &[]);
        check(Notes::default(), &["no series fits"]);
        check(Notes { left_out: 1, clamped: 1, ..sound }, &["left out", "a part of"]);
        check(
            Notes { unsound: 1, gauges: 1, duplicates: 1, ..sound },
            &["twice", "no counter", "gauge"],
        );
    }
}
