//! The keys about sidecars in green's tasks: where they answer, and what must hold of their probes.

use super::table::{DURING, NO_DATA, OBSERVE, UNACCEPTABLE, WEIGHT};
use super::{Form, KeyShape, Needs, Shape, key, must};

/// In `probe`.
pub(super) const SIDECAR_KEY: KeyShape = key(
    "sidecar",
    Form::Map(&SIDECAR_PLACE),
    "port 9090",
    "where the gates beside green's containers answer, for `sidecar` objectives",
);

pub(in crate::document) static SIDECAR_PLACE: Shape = Shape {
    what: "`sidecar`",
    about: "Where the gates beside green's containers answer `GET /snapshot`.",
    needs: Needs::Nothing,
    keys: &[key("port", Form::Number, "9090", "of plain HTTP, on the target's own address")],
};

pub(in crate::document) static SIDECAR: Shape = Shape {
    what: "`sidecar`",
    about: "Probes of the gates that stand in green's tasks, each of the container beside it.",
    needs: Needs::Nothing,
    keys: &[
        key("quantile", Form::Quantile, "errors", "`p99`: of the latency, instead of errors"),
        must(
            "at-most",
            Form::Beside("quantile", &Form::Duration, &Form::Share),
            "write `at-most: 0.5%`, or `at-most: 250ms` with a `quantile`",
            "share of bad probes, or how slow a quantile may be",
        ),
        UNACCEPTABLE,
        WEIGHT,
        OBSERVE,
        NO_DATA,
        DURING,
    ],
};
