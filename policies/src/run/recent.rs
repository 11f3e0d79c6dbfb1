//! What was measured of late: two spans of five minutes, of which the older goes when the newer is full.

use std::time::Duration;

use crate::moment::Moment;
use crate::tick::TargetTick;

/// Length of a span. So between five and ten minutes are kept, once there are as many.
pub const RECENT_SPAN: Duration = Duration::from_secs(300);

/// Two spans.
#[derive(Debug)]
pub(super) struct Recent {
    span_ticks: u64,
    older: Option<Span>,
    newer: Span,
}

/// Sums over the ticks of a span.
#[derive(Clone, Debug)]
pub(super) struct Span {
    began: Moment,
    pub(super) ticks: u64,
    pub(super) trouble_ticks: u64,
    pub(super) throttled_millis: u64,
    pub(super) seen: TargetTick,
}

impl Recent {
    pub(super) fn new(tick: Duration) -> Self {
        let ticks = RECENT_SPAN.as_millis() / tick.as_millis().max(1);
        let span_ticks = u64::try_from(ticks).unwrap_or(u64::MAX).max(1);
        Self { span_ticks, older: None, newer: Span::new(Moment::ZERO) }
    }

    pub(super) fn add(
        &mut self,
        seen: &TargetTick,
        throttled_millis: u32,
        trouble: bool,
        now: Moment,
    ) {
        let span = &mut self.newer;
        span.ticks += 1;
        span.trouble_ticks += u64::from(trouble);
        span.throttled_millis += u64::from(throttled_millis);
        span.seen.merge(seen);
        if span.ticks >= self.span_ticks {
            self.older = Some(std::mem::replace(span, Span::new(now)));
        }
    }

    pub(super) fn began(&self) -> Moment {
        self.older.as_ref().map_or(self.newer.began, |older| older.began)
    }

    /// Both spans together.
    pub(super) fn total(&self) -> Span {
        let Some(older) = &self.older else { return self.newer.clone() };
        let mut total = older.clone();
        total.ticks += self.newer.ticks;
        total.trouble_ticks += self.newer.trouble_ticks;
        total.throttled_millis += self.newer.throttled_millis;
        total.seen.merge(&self.newer.seen);
        total
    }
}

impl Span {
    fn new(began: Moment) -> Self {
        let seen = TargetTick::default();
        Self { began, ticks: 0, trouble_ticks: 0, throttled_millis: 0, seen }
    }
}
