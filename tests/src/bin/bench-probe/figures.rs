//! The few statistics of a table: quantiles of samples, and a median of rounds with its noise.

/// The nearest rank of an ascending list.
pub fn quantile(ascending: &[f64], quantile: f64) -> Option<f64> {
    let rank = (quantile * ascending.len() as f64).ceil().max(1.0) as usize;
    ascending.get(rank - 1).copied()
}

/// A figure of several rounds: the median, and from where to where they went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Figure {
    /// `None` without a single round.
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut rounds: Vec<f64> = rounds.into_iter().collect();
        rounds.sort_by(f64::total_cmp);
        let (low, high) = (*rounds.first()?, *rounds.last()?);
        let middle = rounds.len() / 2;
        let median = if rounds.len() % 2 == 1 {
            rounds[middle]
        } else {
            f64::midpoint(rounds[middle - 1], rounds[middle])
        };
        Some(Self { median, low, high })
    }

    /// The medians divided; the noise is that of the rounds, each divided by its own.
    pub fn ratio(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<Self> {
        let rounds =
            ours.iter().zip(theirs).filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?));
        let each = Self::of(rounds)?;
        let median = |rounds: &[Option<f64>]| Self::of(rounds.iter().flatten().copied());
        Some(Self { median: median(ours)?.median / median(theirs)?.median, ..each })
    }

    /// Distance of the extremes as a share of the median.
    pub fn spread(self) -> f64 {
        (self.high - self.low) / self.median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_sample() {
        let ascending: Vec<f64> = (1..=1000).map(f64::from).collect();
        for (asked, sample) in
            [(0.0, 1.0), (0.001, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)]
        {
            assert_eq!(quantile(&ascending, asked), Some(sample), "{asked}");
        }
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn rounds_have_a_median_and_a_spread() {
        let figure = Figure::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(figure, Figure { median: 2.0, low: 1.0, high: 3.0 });
        assert!((figure.spread() - 1.0).abs() < 1e-12);
        assert_eq!(Figure::of([4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Figure::of([]), None);
    }

    #[test]
    fn a_ratio_pairs_the_rounds_that_both_have() {
        let ratio =
            Figure::ratio(&[Some(1.0), Some(2.0), None], &[Some(2.0), Some(2.0), Some(9.0)]);
        assert_eq!(ratio, Some(Figure { median: 0.75, low: 0.5, high: 1.0 }));
        assert_eq!(Figure::ratio(&[None], &[Some(1.0)]), None);
    }
}
