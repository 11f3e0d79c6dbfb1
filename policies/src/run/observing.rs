//! What is known of real traffic: since when green has any, and how far it has been read.

use super::Run;
use crate::event::Event;
use crate::judge::Judge;
use crate::moment::Moment;
use crate::policy::During;
use crate::reading::Seen;

impl Run {
    /// Notes what a fact says of real traffic, whatever the run makes of it.
    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::Resolved { deployment, .. } if deployment.has_traffic() => {
                self.traffic_since.get_or_insert(self.now);
            }
            Event::Read { reading } => {
                if let Seen::Counts { .. } | Seen::Point { .. } = reading.seen {
                    let newest = self.newest_readings.entry(reading.objective.clone());
                    let newest = newest.or_insert(reading.began_millis);
                    *newest = reading.began_millis.max(*newest);
                }
            }
            Event::Resumed => {
                let watch = self.watching.as_mut().map(|watching| &mut watching.judge);
                for judge in self.judge.iter_mut().chain(watch) {
                    judge.resume(self.now);
                }
            }
            Event::Resolved { .. }
            | Event::Unchanged
            | Event::Unresolved { .. }
            | Event::Ticked { .. }
            | Event::Woke
            | Event::TakenOver
            | Event::Ended { .. }
            | Event::Delivered { .. }
            | Event::Overridden { .. }
            | Event::Undelivered { .. } => {}
        }
    }

    /// When green was first seen with real traffic; what was measured before says nothing of it.
    pub fn traffic_since(&self) -> Option<Moment> {
        self.traffic_since
    }

    /// When the newest period that was read for an objective began, in milliseconds from acceptance.
    pub fn newest_reading(&self, objective: &str) -> Option<i64> {
        self.newest_readings.get(objective).copied()
    }

    /// Whether the judge in force knows what a series is compared with.
    pub fn has_baseline(&self, objective: &str) -> bool {
        let judge = self.watching.as_ref().map(|watching| &watching.judge).or(self.judge.as_ref());
        let mut judged = judge.map(Judge::objectives).unwrap_or_default().iter();
        judged.any(|judged| judged.objective.name == objective && judged.has_baseline())
    }

    /// What is judged now.
    pub(super) fn judges_during(&self) -> During {
        if self.watching.is_some() { During::Watch } else { During::Question }
    }
}
