//! What the doctor found: one sentence, why it matters, and the exact way out.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Works, and not as one may think.
    Warning,
    /// A deployment would be answered wrongly, or not at all.
    Error,
    /// Not looked at, and why.
    Untested,
}

impl Level {
    /// As JSON and text call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Untested => "untested",
        }
    }
}

/// What a finding is about, in the order findings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Area {
    /// What was looked at.
    Subject,
    /// Whether a rollback really happens.
    Rollback,
    /// Listeners and where they lead.
    Listeners,
    /// Where it is asked, and how long it waits.
    Stages,
    /// The Lambda function that hands questions over.
    Relay,
    /// How questions reach the daemon.
    Intake,
    /// The daemon's settings.
    Settings,
    /// Which policy judges.
    Policy,
    /// CloudWatch alarms.
    Alarms,
    /// CloudWatch metrics.
    Metrics,
    /// Whether targets can be connected to.
    Targets,
    /// Whether the daemon answers.
    Daemon,
    /// Who gate is.
    Credentials,
    /// What it may call.
    Permissions,
    /// Which services it reaches.
    Endpoints,
    /// Whether the clock is right.
    Clock,
}

impl Area {
    /// As JSON and text call it.
    const fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Rollback => "rollback",
            Self::Listeners => "listeners",
            Self::Stages => "stages",
            Self::Relay => "relay",
            Self::Intake => "intake",
            Self::Settings => "settings",
            Self::Policy => "policy",
            Self::Alarms => "alarms",
            Self::Metrics => "metrics",
            Self::Targets => "targets",
            Self::Daemon => "daemon",
            Self::Credentials => "credentials",
            Self::Permissions => "permissions",
            Self::Endpoints => "endpoints",
            Self::Clock => "clock",
        }
    }
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) area: Area,
    pub(crate) level: Level,
    /// What was found.
    pub(crate) what: String,
    /// Why it matters; of what was not tested, why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// A command or a setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

impl Finding {
    pub(crate) fn ok(area: Area, what: impl Into<String>) -> Self {
        Self { area, level: Level::Ok, what: what.into(), why: None, fix: None }
    }

    pub(crate) fn new(
        area: Area,
        level: Level,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { area, level, what: what.into(), why: Some(why.into()), fix: Some(fix.into()) }
    }

    /// What was not looked at.
    pub(crate) fn untested(
        area: Area,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: Option<String>,
    ) -> Self {
        Self { area, level: Level::Untested, what: what.into(), why: Some(why.into()), fix }
    }
}

/// Everything found, in the order it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// What was looked at: `deployment group web of web`.
    pub(crate) subject: String,
    pub(crate) findings: Vec<Finding>,
    pub(crate) summary: Summary,
}

/// How many of each level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) ok: usize,
    pub(crate) warnings: usize,
    pub(crate) errors: usize,
    pub(crate) untested: usize,
}

impl Report {
    /// Findings of one area keep the order they were found in.
    pub(crate) fn new(subject: String, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.area);
        let of = |level| findings.iter().filter(|finding| finding.level == level).count();
        let summary = Summary {
            ok: of(Level::Ok),
            warnings: of(Level::Warning),
            errors: of(Level::Error),
            untested: of(Level::Untested),
        };
        Self { subject, findings, summary }
    }

    /// For people; the last line is the summary.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![self.subject.clone(), String::new()];
        for finding in &self.findings {
            let (level, area) = (finding.level.name(), finding.area.name());
            lines.push(format!("{level:<8}  {area:<11}  {}", finding.what));
            for (label, said) in [("why", &finding.why), ("fix", &finding.fix)] {
                // The SDK's own texts may be of several lines.
                let words = |said: &String| said.split_whitespace().collect::<Vec<_>>().join(" ");
                lines
                    .extend(said.as_ref().map(|said| format!("{:23}{label}: {}", "", words(said))));
            }
        }
        lines.push(String::new());
        lines.push(self.in_short());
        lines.join("\n")
    }

    /// How many of each level, and where to look: `3 ok, 1 warning (relay), 2 errors (intake, policy), 0 untested`.
    fn in_short(&self) -> String {
        let Summary { ok, warnings, errors, untested } = self.summary;
        let counted = |count: usize, level: Level| {
            let plural = if count == 1 { "" } else { "s" };
            let of = self.findings.iter().filter(|finding| finding.level == level);
            let mut areas: Vec<&str> = of.map(|finding| finding.area.name()).collect();
            areas.dedup();
            let where_to_look =
                if areas.is_empty() { String::new() } else { format!(" ({})", areas.join(", ")) };
            format!("{count} {}{plural}{where_to_look}", level.name())
        };
        format!(
            "{ok} ok, {}, {}, {untested} untested",
            counted(warnings, Level::Warning),
            counted(errors, Level::Error)
        )
    }
}
