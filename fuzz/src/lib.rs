//! What must hold of any input: the bodies of the fuzz targets, shared with `tests/tests/corpus.rs`.
//!
//! One function for each parser of bytes from outside. None of them may panic, hang or grow without bound; what else
//! holds is asserted.

mod asked;
mod counted;
mod evidence;
mod policy;
mod record;

pub use asked::{hook, message, overriding, signature, task};
pub use counted::{metrics, report, snapshot};
pub use evidence::evidence;
pub use policy::policy;
pub use record::record;

/// A target's name and what is run for each input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, in the order `make fuzz` takes them.
pub const ALL: [Target; 11] = [
    ("policy", policy),
    ("evidence", evidence),
    ("hook", hook),
    ("message", message),
    ("record", record),
    ("metrics", metrics),
    ("snapshot", snapshot),
    ("task", task),
    ("signature", signature),
    ("report", report),
    ("overriding", overriding),
];
