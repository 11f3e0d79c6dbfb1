//! What several targets, or several series, counted in the same time, as if one had counted it all.

use policies::reading::Seen;

use super::totals::common;

/// Sums of what was seen: events add up, and of histograms those bounds remain that all have, because nothing is
/// known of how the others' events lie about a bound they do not have. `None` of nothing. What is not counted
/// adds up to nothing: the first stands.
pub fn merge(seen: impl IntoIterator<Item = Seen>) -> Option<Seen> {
    seen.into_iter().reduce(|sum, seen| match (sum, seen) {
        (Seen::Counts { bad, all }, Seen::Counts { bad: more_bad, all: more }) => {
            Seen::Counts { bad: bad + more_bad, all: all + more }
        }
        (Seen::Buckets { cumulative, all }, Seen::Buckets { cumulative: others, all: more }) => {
            let both = common(&cumulative, &others).into_iter();
            let cumulative = both.map(|(bound, one, other)| (bound, one + other)).collect();
            Seen::Buckets { cumulative, all: all + more }
        }
        (sum, _) => sum,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(bad: f64, all: f64) -> Seen {
        Seen::Counts { bad, all }
    }

    fn buckets(cumulative: &[(f64, f64)], all: f64) -> Seen {
        Seen::Buckets { cumulative: cumulative.to_vec(), all }
    }

    #[track_caller]
    fn check(seen: &[Seen], expected: Option<Seen>) {
        assert_eq!(merge(seen.to_vec()), expected);
        let backwards: Vec<Seen> = seen.iter().rev().cloned().collect();
        assert_eq!(merge(backwards), expected, "backwards");
    }

    #[test]
    fn events_of_all_targets_add_up() {
        check(&[], None);
        check(&[counts(1.0, 5.0)], Some(counts(1.0, 5.0)));
        check(&[counts(1.0, 5.0), counts(0.0, 0.0), counts(2.0, 3.0)], Some(counts(3.0, 8.0)));
    }

    #[test]
    fn only_bounds_that_all_have_remain() {
        let one = buckets(&[(0.1, 1.0), (0.5, 2.0), (1.0, 2.0)], 3.0);
        let other = buckets(&[(0.25, 4.0), (0.5, 5.0), (1.0, 5.0)], 5.0);
        let sum = buckets(&[(0.5, 7.0), (1.0, 7.0)], 8.0);
        check(&[one.clone(), other], Some(sum));
        check(&[one, buckets(&[], 1.0)], Some(buckets(&[], 4.0)));
    }
}
