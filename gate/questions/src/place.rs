//! In which region and account a question is asked.

use serde::{Deserialize, Serialize};

/// Where a question comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// `None` for the region gate runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `None` for the account gate runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

impl Place {
    /// Where an ARN points: its fourth and fifth part.
    pub fn of_arn(arn: &str) -> Self {
        let mut parts = arn.split(':').skip(3).map(str::to_owned);
        let mut next = || parts.next().filter(|part| !part.is_empty());
        Self { region: next(), account: next() }
    }
}
