//! Where questions are fetched from: a queue, and services that are looked at.

use serde::{Deserialize, Serialize};

use crate::aws::Place;

/// Services and deployment groups that are looked at: each costs AWS a call or two every 20 s.
const POLLED_MAX: usize = 50;

/// The settings of fetching.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IntakeSettings {
    /// URL of an SQS queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<String>,
    /// What is looked at, again and again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) poll: Vec<Polled>,
}

/// A service or a deployment group that is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Polled {
    /// ECS cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    /// ECS service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// CodeDeploy application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) application: Option<String>,
    /// CodeDeploy deployment group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// Watch deployments that have nothing to ask.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) watch: bool,
    /// Where it is; unsaid, where gate is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// In which account; unsaid, in gate's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
}

/// Finds everything wrong with them.
pub(super) fn check(intake: &IntakeSettings, roles: &[String], faults: &mut Vec<String>) {
    if let Some(queue) = &intake.queue
        && !(queue.starts_with("https://") || queue.starts_with("http://"))
    {
        faults.push(format!(
            "`intake.queue: {queue}` is no URL of a queue; write `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`"
        ));
    }
    if intake.poll.len() > POLLED_MAX {
        faults.push(format!(
            "`intake.poll` has {} entries, and at most {POLLED_MAX}; let events come by `intake.queue`",
            intake.poll.len()
        ));
    }
    for (place, polled) in intake.poll.iter().enumerate() {
        let service = (polled.cluster.is_some(), polled.service.is_some());
        let group = (polled.application.is_some(), polled.group.is_some());
        let one = matches!(
            (service, group),
            ((true, true), (false, false)) | ((false, false), (true, true))
        );
        if !one {
            faults.push(format!(
                "`intake.poll[{place}]` names neither a service nor a deployment group; write `{{ cluster: prod, service: web }}` or `{{ application: web, group: web-group }}`"
            ));
        }
        let has_role = |account: &String| {
            roles.iter().any(|role| Place::of_arn(role).account.as_ref() == Some(account))
        };
        if let Some(account) = polled.account.as_ref().filter(|account| !has_role(account)) {
            faults.push(format!(
                "`intake.poll[{place}].account: {account}` has no role in `aws.assume-role`, so gate would look in its own account; name one, or leave `account` out where it is gate's own"
            ));
        }
        if polled.watch && group.0 {
            faults.push(format!(
                "`intake.poll[{place}].watch` is for services; a rule for `CodeDeploy Deployment State-change Notification` on `intake.queue` has CodeDeploy's deployments watched"
            ));
        }
    }
    let mut accounts = Vec::new();
    for role in roles {
        let account = Place::of_arn(role).account.filter(|_| role.contains(":role/"));
        match account {
            None => faults.push(format!(
                "`aws.assume-role: {role}` is no ARN of a role; write `arn:aws:iam::ACCOUNT:role/NAME`"
            )),
            Some(account) if accounts.contains(&account) => faults
                .push(format!("`aws.assume-role` names two roles of account {account}; keep one")),
            Some(account) => accounts.push(account),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_said_at_once() {
        let polled = |cluster: Option<&str>, application: Option<&str>| Polled {
            cluster: cluster.map(str::to_owned),
            service: Some("web".to_owned()),
            application: application.map(str::to_owned),
            ..Polled::default()
        };
        let intake = IntakeSettings {
            queue: Some("gate-queue".to_owned()),
            poll: vec![
                polled(Some("prod"), None),
                polled(None, None),
                polled(Some("a"), Some("b")),
            ],
        };
        let roles = ["arn:aws:iam::1:role/a", "arn:aws:iam::1:role/b", "arn:aws:iam::2:user/c"];
        let mut faults = Vec::new();
        check(&intake, &roles.map(str::to_owned), &mut faults);
        for (part, fault) in [
            ("is no URL of a queue", 0),
            ("intake.poll[1]", 1),
            ("intake.poll[2]", 2),
            ("two roles of account 1", 3),
            ("no ARN of a role", 4),
        ] {
            assert!(
                faults.get(fault).is_some_and(|told| told.contains(part)),
                "{part}: {faults:?}"
            );
        }
    }
}
