//! What happened to a run, in order, for the page.

use crate::moment::Moment;
use crate::report::Note;

/// Notes kept; a run that flaps for hours must not grow without limit.
const NOTES_MAX: usize = 200;

/// A bounded list of notes; what no longer fits is counted.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    notes: Vec<Note>,
    dropped: u64,
}

impl Timeline {
    pub(super) fn note(&mut self, at: Moment, text: impl Into<String>) {
        if self.notes.len() == NOTES_MAX {
            // How it began and how it ended tell more than the middle.
            self.notes.remove(NOTES_MAX / 2);
            self.dropped += 1;
        }
        self.notes.push(Note { at_millis: at, text: text.into() });
    }

    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}
