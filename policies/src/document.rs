//! Policy files: YAML text in, checked policies out, every fault with its place and a way out.
//!
//! A file is read into a tree that knows where everything stood (`tree`), then checked into types,
//! collecting faults as it goes (`check`). Only a syntax error stands alone.

mod check;
mod fault;
mod schema;
mod shape;
mod tree;

use crate::deployment::Deployment;
use crate::event::PolicyInForce;
use crate::policy::{AppliesTo, Policy};
use tree::Place;

pub use fault::{Fault, FaultCode, FaultLevel, render};
pub use schema::schema;

/// Every key of every map of a policy: what faults call the map, and the key; the docs are held to it.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    shape::keys().into_iter().map(|(map, key)| (map, key.name))
}

/// The largest policy file read; a policy of every kind is a few kilobytes.
pub const DOCUMENT_MAX_BYTES: usize = 256 * 1024;

/// One policy file, good or bad.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    /// File name, as faults and records call it.
    pub name: String,
    /// The text as read.
    pub text: String,
    /// The policy, if the file has no fault.
    pub policy: Option<Policy>,
    /// Which deployments it is for, if at least that much could be read.
    pub applies_to: Option<AppliesTo>,
    /// Everything wrong with it, warnings included.
    pub faults: Vec<Fault>,
    /// Where it says what it applies to.
    place: Option<Place>,
}

impl PolicyFile {
    /// Reads and checks one document.
    pub fn parse(name: &str, text: &str) -> Self {
        let kept = if text.len() > DOCUMENT_MAX_BYTES { "" } else { text };
        let root = match tree::parse(name, text) {
            Ok(root) => root,
            Err(fault) => return Self::refused(name, kept, *fault),
        };
        let check::Checked { policy, applies_to, applies_to_place, faults } =
            check::check(name, &root);
        let policy = policy.filter(|_| !faults.iter().any(Fault::is_error));
        Self {
            name: name.to_owned(),
            text: kept.to_owned(),
            policy,
            applies_to,
            faults,
            place: Some(applies_to_place),
        }
    }

    /// A file that could not be read at all, and why.
    pub fn unreadable(name: &str, why: &str) -> Self {
        let fault = Fault {
            code: FaultCode::G0001,
            level: FaultLevel::Error,
            file: name.to_owned(),
            line: 1,
            column: 1,
            message: why.to_owned(),
            help: "name a policy file, or a folder of `*.policy.yaml`".to_owned(),
            span: 0..0,
            hidden: false,
        };
        Self::refused(name, "", fault)
    }

    /// A file of which nothing could be read but this.
    fn refused(name: &str, text: &str, fault: Fault) -> Self {
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            policy: None,
            applies_to: None,
            faults: vec![fault],
            place: None,
        }
    }

    /// Faults for which the document is refused.
    pub fn errors(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(|fault| fault.is_error())
    }
}

/// All policy files of a folder.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    files: Vec<PolicyFile>,
}

impl PolicySet {
    /// Reads and checks these `(name, text)` documents.
    pub fn parse<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files =
            documents.into_iter().map(|(name, text)| PolicyFile::parse(name, text)).collect();
        Self { files }
    }

    /// These files as one folder: two that a deployment can match equally well are a fault of the later.
    pub fn of(files: Vec<PolicyFile>) -> Self {
        Self { files }.tied()
    }

    /// The same with a fault for each two that a deployment can match equally well.
    #[must_use]
    pub fn tied(self) -> Self {
        let mut set = self;
        for fault in set.ties() {
            let file = set.files.iter_mut().find(|file| file.name == fault.file);
            if let Some(file) = file {
                file.faults.push(fault);
            }
        }
        set
    }

    /// The files, in the order given.
    pub fn files(&self) -> &[PolicyFile] {
        &self.files
    }

    /// A fault for each two policies that a deployment can match equally well, so that it would have
    /// neither; at the later one.
    fn ties(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (place, file) in self.files.iter().enumerate() {
            let earlier = self.files.iter().take(place);
            let tied = earlier.filter(|other| match (&file.applies_to, &other.applies_to) {
                (Some(one), Some(two)) => one.ties_with(two),
                _ => false,
            });
            let tied: Vec<&str> = tied.map(|other| other.name.as_str()).collect();
            if let (Some(at), false) = (&file.place, tied.is_empty()) {
                faults.push(Fault {
                    code: FaultCode::G0010,
                    level: FaultLevel::Error,
                    file: file.name.clone(),
                    line: at.line,
                    column: at.column,
                    message: format!(
                        "matches some deployments as well as {}, so that they would be judged by neither",
                        tied.join(", ")
                    ),
                    help: "name more in `applies-to` of one: the application, the group or the stages"
                        .to_owned(),
                    span: at.span.clone(),
                    hidden: false,
                });
            }
        }
        faults
    }

    /// All faults of all files.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.files.iter().flat_map(|file| &file.faults)
    }

    /// The one policy for this deployment: the file that fits best.
    ///
    /// A broken file that fits best stands in the way: judging by a weaker policy than somebody wrote
    /// would be worse than saying so. A file of which not even `applies-to` can be read stands in the
    /// way of everything but a policy that names this deployment.
    pub fn pick(&self, deployment: &Deployment) -> PolicyInForce {
        let unreadable: Vec<&PolicyFile> =
            self.files.iter().filter(|file| file.applies_to.is_none()).collect();
        let fits: Vec<(u32, &PolicyFile)> = self
            .files
            .iter()
            .filter_map(|file| Some((file.applies_to.as_ref()?.fit(deployment)?, file)))
            .collect();
        let best = fits.iter().map(|(fit, _)| *fit).max();
        let Some(best) = best.filter(|&best| best > 0 || unreadable.is_empty()) else {
            if unreadable.is_empty() {
                return PolicyInForce::Unmatched;
            }
            return broken(&unreadable);
        };
        let best: Vec<&PolicyFile> =
            fits.into_iter().filter(|(fit, _)| *fit == best).map(|(_, file)| file).collect();
        match best.as_slice() {
            [file] if file.policy.is_some() => {
                PolicyInForce::Chosen { file: file.name.clone(), text: file.text.clone() }
            }
            files if files.iter().any(|file| file.policy.is_none()) => broken(files),
            files => {
                PolicyInForce::Tied { files: files.iter().map(|file| file.name.clone()).collect() }
            }
        }
    }
}

fn broken(files: &[&PolicyFile]) -> PolicyInForce {
    PolicyInForce::Broken {
        faults: files.iter().flat_map(|file| file.errors()).map(Fault::one_line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Stage;
    use expect_test::{Expect, expect};

    const PROBE: &str =
        "probe: { http: { path: / } }\nobjectives: [ { errors: { at-most: 1% } } ]\n";

    fn check(documents: &[(&str, &str)], expected: Expect) {
        let texts: Vec<(String, String)> = documents
            .iter()
            .map(|(name, applies)| ((*name).to_owned(), format!("gate: v1\n{applies}\n{PROBE}")))
            .collect();
        let set = PolicySet::parse(texts.iter().map(|(n, t)| (n.as_str(), t.as_str())));
        let deployment = Deployment {
            id: "d-1".into(),
            application: "checkout".into(),
            group: "checkout-group".into(),
            service: "prod:checkout".into(),
            stage: Stage::AfterAllowTestTraffic,
            is_rollback: false,
            rolls_back_on_failure: true,
            green: vec![],
            blue: vec![],
            ..Deployment::default()
        };
        let picked = match set.pick(&deployment) {
            PolicyInForce::Chosen { file, .. } => format!("chosen {file}"),
            other @ (PolicyInForce::Unmatched
            | PolicyInForce::Tied { .. }
            | PolicyInForce::Broken { .. }) => format!("{other:?}"),
        };
        expected.assert_eq(&picked);
    }

    #[test]
    fn the_policy_that_names_the_deployment_best_is_chosen() {
        check(&[("all", "")], expect!["chosen all"]);
        check(
            &[("all", ""), ("app", "applies-to: { application: checkout }")],
            expect!["chosen app"],
        );
        check(
            &[
                ("glob", "applies-to: { application: check* }"),
                ("app", "applies-to: { application: checkout }"),
            ],
            expect!["chosen app"],
        );
        check(
            &[
                ("app", "applies-to: { application: checkout }"),
                ("stage", "applies-to: { application: checkout, stages: [AfterAllowTestTraffic] }"),
                ("later", "applies-to: { application: checkout, stages: [AfterAllowTraffic] }"),
            ],
            expect!["chosen stage"],
        );
        check(&[("service", "applies-to: { service: checkout }")], expect!["chosen service"]);
    }

    #[test]
    fn no_match_a_tie_and_a_broken_best_match_are_told_apart() {
        check(&[("other", "applies-to: { application: search }")], expect!["Unmatched"]);
        check(&[("one", ""), ("two", "")], expect![[r#"Tied { files: ["one", "two"] }"#]]);
        check(
            &[("all", ""), ("app", "applies-to: { application: checkout }\nspeed: 3")],
            expect![[r#"Broken { faults: ["app:3:1: unknown key `speed`"] }"#]],
        );
        check(
            &[("all", ""), ("other", "applies-to: { application: search }\nspeed: 3")],
            expect!["chosen all"],
        );
    }

    #[test]
    fn an_unreadable_file_stands_in_the_way_of_policies_that_name_nothing() {
        check(
            &[("all", ""), ("torn", "applies-to: {")],
            expect![[
                r#"Broken { faults: ["torn:4:1: not YAML: while parsing a flow mapping, did not find expected ',' or '}'"] }"#
            ]],
        );
        check(
            &[("app", "applies-to: { application: checkout }"), ("torn", "applies-to: {")],
            expect!["chosen app"],
        );
    }
}
