//! `gate schema`: the JSON Schema of a policy, for editors and other programs.

use clap::Args;

use super::{OK, say};

/// Print the JSON Schema (draft 2020-12) of a policy document.
#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(&self) -> u8 {
        say(&format!("{:#}", policies::document::schema()));
        OK
    }
}
