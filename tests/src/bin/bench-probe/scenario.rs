//! What every tool is asked to do.

use std::time::Duration;

use crate::tool::Tool;
use crate::truth::Mode;

/// A load on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    Steady1000,
    Steady5000,
    Dist,
    Freeze,
    Full,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests a second; `None`: as fast as the connections allow.
    pub rate: Option<u32>,
    pub duration: Duration,
    pub connections: u32,
}

impl Scenario {
    pub const ALL: [Self; 5] =
        [Self::Steady1000, Self::Steady5000, Self::Dist, Self::Freeze, Self::Full];

    /// How the server answers.
    pub fn mode(self) -> Mode {
        match self {
            Self::Steady1000 | Self::Steady5000 | Self::Full => Mode::Fast,
            Self::Dist => Mode::Dist,
            Self::Freeze => Mode::Freeze,
        }
    }

    /// The whole of it, or what a test has time for.
    pub fn load(self, quick: bool) -> Load {
        let (rate, seconds, connections) = match self {
            Self::Steady1000 | Self::Dist => (Some(1000), 10, 32),
            Self::Steady5000 => (Some(5000), 10, 32),
            // Ten whole periods. Few connections show what a tool omits that waits for them.
            Self::Freeze => (Some(1000), 20, 10),
            Self::Full => (None, 4, 32),
        };
        let duration = match (quick, self) {
            (false, _) => Duration::from_secs(seconds),
            (true, Self::Freeze) => crate::freeze::EVERY,
            (true, _) => Duration::from_millis(500),
        };
        Load { rate, duration, connections }
    }

    /// Whether a tool can do it, and it is worth its time.
    pub fn takes(self, tool: Tool) -> bool {
        match tool {
            Tool::Wrk => self == Self::Full,
            Tool::OhaUncorrected => self == Self::Freeze,
            // One connection: it cannot wait for a slow answer and send the next request.
            Tool::Reference => !matches!(self, Self::Dist | Self::Full),
            Tool::Gate | Tool::Oha | Tool::H2load | Tool::Hey | Tool::Autocannon => true,
        }
    }

    /// A few words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady1000 => "1,000 requests a second",
            Self::Steady5000 => "5,000 requests a second",
            Self::Dist => "1,000 a second, slow answers",
            Self::Freeze => "1,000 a second, a server that stops",
            Self::Full => "full speed",
        }
    }
}
