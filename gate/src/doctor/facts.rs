//! What is looked up first, because everything else goes by it.

use policies::{Deployment, Stage};

use super::finding::Area;
use super::relay::is_relay;
use super::{Finding, Level, Patient, Unknown, Visit, together};
use crate::aws::balancing::{Registered, TargetGroup};
use crate::aws::codedeploy::{DeploymentFacts, DeploymentTarget, GroupFacts};
use crate::aws::ecs::ServiceFacts;
use crate::aws::functions::{AliasFacts, FunctionFacts};
use crate::aws::identity::Caller;
use crate::aws::pipelines::PipelineFacts;
use crate::aws::{Call, Failure, Place};
use crate::intake::hooks::policy_named;
use crate::shell::Doing;

/// Target groups that are looked at: a deployment has two.
const GROUPS_MAX: usize = 8;

/// What is set up.
#[derive(Debug, Default)]
pub(super) enum Found {
    Group(GroupFacts),
    Service(ServiceFacts),
    Function(FunctionFacts),
    Pipeline(PipelineFacts),
    /// It could not be read.
    #[default]
    Unread,
    /// It is not there.
    Nothing,
}

/// A stage at which gate is, or may be, asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asks {
    pub(super) stage: Stage,
    /// The policy that whoever asks names.
    pub(super) policy: Option<String>,
    /// Whether it certainly asks: of CodeDeploy's hooks only the AppSpec knows.
    pub(super) certain: bool,
}

/// A target group with what is registered in it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) facts: TargetGroup,
    /// `None` where it could not be read.
    pub(super) registered: Option<Vec<Registered>>,
}

/// The newest deployment.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) id: String,
    pub(super) facts: Option<DeploymentFacts>,
    pub(super) target: Option<DeploymentTarget>,
}

impl Last {
    /// Whether it is over for good: nothing done to it can have an effect.
    pub(super) fn is_over(&self) -> bool {
        self.facts.as_ref().is_some_and(DeploymentFacts::is_over)
    }
}

/// Everything that is known of the patient.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) caller: Option<Caller>,
    pub(super) place: Place,
    pub(super) found: Found,
    pub(super) last: Option<Last>,
    /// Of a function that is looked at by itself.
    pub(super) alias: Option<AliasFacts>,
    alias_name: String,
    pub(super) groups: Vec<Group>,
    pub(super) asks: Vec<Asks>,
    /// As policies are chosen by, without its stage.
    pub(super) deployment: Deployment,
    pub(super) findings: Vec<Finding>,
}

impl Facts {
    pub(super) async fn gather(visit: &Visit) -> Self {
        let mut facts = Self::default();
        let (caller, found) = tokio::join!(
            visit.ask(&[Call::GetCallerIdentity], visit.aws.caller()),
            found(visit, &mut facts.findings)
        );
        facts.place.region = visit.aws.region();
        match caller {
            Ok(caller) => {
                facts.place.account = Some(caller.account.clone());
                let region = facts.place.region.as_deref().unwrap_or("no region");
                let what = format!("gate runs as {} in {region}", caller.arn);
                facts.findings.push(Finding::ok(Area::Credentials, what));
                facts.caller = Some(caller);
            }
            Err(error) => facts.findings.push(Finding::untested(
                Area::Credentials,
                "who gate is here is not known",
                error.to_string(),
                None,
            )),
        }
        match found {
            Found::Group(group) => facts.group(visit, group).await,
            Found::Service(service) => facts.service(visit, service).await,
            Found::Function(function) => facts.function(visit, function).await,
            Found::Pipeline(pipeline) => facts.pipeline(visit, pipeline).await,
            Found::Unread => facts.unread(visit),
            Found::Nothing => facts.found = Found::Nothing,
        }
        facts
    }

    /// What is known by its name alone.
    fn unread(&mut self, visit: &Visit) {
        match &visit.patient {
            Patient::Group { application, group } => {
                self.deployment.application.clone_from(application);
                self.deployment.group.clone_from(group);
            }
            Patient::Service { cluster, service } => {
                self.deployment.service = format!("{cluster}:{service}");
            }
            Patient::Function { name, .. } => self.deployment.function = of_arn(name),
            Patient::Pipeline { name } => self.deployment.pipeline.clone_from(name),
        }
        self.findings.push(Finding::untested(
            Area::Policy,
            "which policy would judge",
            format!("what {} is about is not known", visit.patient),
            None,
        ));
    }

    async fn group(&mut self, visit: &Visit, group: GroupFacts) {
        let Patient::Group { application, group: name } = &visit.patient else { return };
        self.deployment.application.clone_from(application);
        self.deployment.group.clone_from(name);
        if let Some(service) = group.services.first() {
            self.deployment.service.clone_from(service);
        }
        let (last, groups) = tokio::join!(
            last(visit, group.last_deployment.clone()),
            groups(visit, &group.target_groups, &mut self.findings)
        );
        if let Some(DeploymentTarget::Function(target)) =
            last.as_ref().and_then(|last| last.target.as_ref())
        {
            self.deployment.function = of_arn(&target.function);
        }
        let about = match group.platform.as_str() {
            "ECS" => format!("ECS, service {}", self.deployment.service),
            "Lambda" if self.deployment.function.is_empty() => "Lambda".to_owned(),
            "Lambda" => format!("Lambda, function {}", self.deployment.function),
            other => other.to_owned(),
        };
        self.findings.push(Finding::ok(Area::Subject, format!("{}: {about}", visit.patient)));
        if last.is_none() {
            self.findings.push(Finding::untested(
                Area::Subject,
                "nothing was deployed yet",
                "what can only be seen of a deployment is left out, such as the permissions to read one",
                Some("run this again after the first deployment".to_owned()),
            ));
        }
        let hooks: &[Stage] = match group.platform.as_str() {
            "ECS" => &[
                Stage::AfterInstall,
                Stage::AfterAllowTestTraffic,
                Stage::BeforeAllowTraffic,
                Stage::AfterAllowTraffic,
            ],
            "Lambda" => &[Stage::BeforeAllowTraffic, Stage::AfterAllowTraffic],
            _ => &[],
        };
        let hooks = hooks.iter().map(|stage| (*stage, false));
        let ready = group.ready_wait_minutes.map(|_minutes| (Stage::Ready, true));
        self.asks = hooks
            .chain(ready)
            .map(|(stage, certain)| Asks { stage, policy: None, certain })
            .collect();
        self.last = last;
        self.groups = groups;
        self.found = Found::Group(group);
    }

    async fn service(&mut self, visit: &Visit, service: ServiceFacts) {
        let Patient::Service { cluster, service: name } = &visit.patient else { return };
        self.deployment.service = format!("{cluster}:{name}");
        let place = Place::of_arn(&service.arn);
        self.place.region = place.region.or_else(|| self.place.region.take());
        self.place.account = place.account.or_else(|| self.place.account.take());
        self.groups = groups(visit, &service.target_groups, &mut self.findings).await;
        let what =
            format!("{}: controller {}, {}", visit.patient, service.controller, service.strategy);
        self.findings.push(Finding::ok(Area::Subject, what));
        let pauses = service.pauses.iter().flat_map(|pause| &pause.stages);
        let named: Vec<Stage> = pauses
            .chain(service.functions.iter().flat_map(|(_, stages)| stages))
            .filter_map(|stage| Stage::named(stage))
            .collect();
        let asks = Stage::ALL.into_iter().filter(|stage| named.contains(stage));
        self.asks = asks.map(|stage| Asks { stage, policy: None, certain: true }).collect();
        self.found = Found::Service(service);
    }

    async fn function(&mut self, visit: &Visit, function: FunctionFacts) {
        let Patient::Function { name, alias } = &visit.patient else { return };
        self.deployment.function = of_arn(name);
        let seen = visit.ask(&[Call::GetAlias], visit.aws.alias(name, alias)).await;
        self.findings.push(match &seen {
            Ok(facts) => behind(&visit.patient, name, alias, facts),
            Err(error) if error.is(Failure::Missing) => Finding::new(
                Area::Subject,
                Level::Error,
                format!("there is no {}", visit.patient),
                "CodeDeploy shifts traffic between the versions behind an alias: without one nothing can be deployed",
                format!("aws lambda create-alias --function-name {name} --name {alias} --function-version VERSION"),
            ),
            Err(error) => Finding::untested(
                Area::Subject,
                format!("what is behind {} is not known", visit.patient),
                error.to_string(),
                error.fix(),
            ),
        });
        self.alias = seen.ok();
        self.alias_name.clone_from(alias);
        self.asks = [Stage::BeforeAllowTraffic, Stage::AfterAllowTraffic]
            .map(|stage| Asks { stage, policy: None, certain: false })
            .into();
        self.found = Found::Function(function);
    }

    /// Function, alias and version, of a function that is looked at by itself.
    pub(super) fn function_behind_alias(&self) -> Option<(String, String, String)> {
        let Found::Function(_) = self.found else { return None };
        let version = self.alias.as_ref()?.version.clone();
        Some((self.deployment.function.clone(), self.alias_name.clone(), version))
    }

    async fn pipeline(&mut self, visit: &Visit, pipeline: PipelineFacts) {
        let Patient::Pipeline { name } = &visit.patient else { return };
        self.deployment.pipeline.clone_from(name);
        self.deployment.id.clone_from(name);
        for action in &pipeline.actions {
            let setting = |key: &str| {
                let found = action.configuration.iter().find(|(name, _)| name == key);
                found.map(|(_, text)| text.as_str())
            };
            let (stage, key, certain) = match action.provider.as_str() {
                "Manual" => (Stage::Approval, "CustomData", true),
                "Lambda" => match hands_over(visit, setting("FunctionName")).await {
                    Some(true) => (Stage::Invoke, "UserParameters", true),
                    // Somebody else's function asks gate nothing.
                    Some(false) => continue,
                    None => (Stage::Invoke, "UserParameters", false),
                },
                _ => continue,
            };
            let policy = setting(key).and_then(policy_named);
            let asks = Asks { stage, policy, certain };
            if !self.asks.contains(&asks) {
                self.asks.push(asks);
            }
        }
        let what = format!(
            "{}: {} action{}, mode {}",
            visit.patient,
            pipeline.actions.len(),
            if pipeline.actions.len() == 1 { "" } else { "s" },
            pipeline.mode
        );
        self.findings.push(Finding::ok(Area::Subject, what));
        self.found = Found::Pipeline(pipeline);
    }
}

async fn found(visit: &Visit, findings: &mut Vec<Finding>) -> Found {
    let aws = visit.aws.as_ref();
    let found = match &visit.patient {
        Patient::Group { application, group } => visit
            .ask(&[Call::GetDeploymentGroup], aws.deployment_group(application, group))
            .await
            .map(Found::Group),
        Patient::Service { cluster, service } => visit
            .ask(&[Call::DescribeServices], aws.service(cluster, service))
            .await
            .map(Found::Service),
        Patient::Function { name, .. } => visit
            .ask(&[Call::GetFunctionConfiguration], aws.function(name))
            .await
            .map(Found::Function),
        Patient::Pipeline { name } => {
            visit.ask(&[Call::GetPipeline], aws.pipeline(name)).await.map(Found::Pipeline)
        }
    };
    found.unwrap_or_else(|error| {
        findings.push(not_found(&visit.patient, &error));
        if error.is(Failure::Missing) { Found::Nothing } else { Found::Unread }
    })
}

fn not_found(patient: &Patient, error: &Unknown) -> Finding {
    let list = match patient {
        Patient::Group { .. } if error.has_code("ApplicationDoesNotExistException") => {
            "`aws deploy list-applications` lists the applications".to_owned()
        }
        Patient::Group { application, .. } => {
            format!(
                "`aws deploy list-deployment-groups --application-name {application}` lists them"
            )
        }
        Patient::Service { cluster, .. } => {
            format!("`aws ecs list-services --cluster {cluster}` lists them")
        }
        Patient::Function { .. } => "`aws lambda list-functions` lists them".to_owned(),
        Patient::Pipeline { .. } => "`aws codepipeline list-pipelines` lists them".to_owned(),
    };
    if error.is(Failure::Missing) {
        let what = format!("there is no {patient} in this account and region");
        return Finding::new(Area::Subject, Level::Error, what, error.to_string(), list);
    }
    let what = format!("how {patient} is set up is not known");
    Finding::untested(Area::Subject, what, error.to_string(), error.fix())
}

/// What stands behind an alias, and whether CodeDeploy can go on from there.
fn behind(patient: &Patient, name: &str, alias: &str, facts: &AliasFacts) -> Finding {
    let AliasFacts { version, weights } = facts;
    if version == "$LATEST" {
        return Finding::new(
            Area::Subject,
            Level::Error,
            format!("{patient} is at $LATEST"),
            "CodeDeploy deploys from one published version to another, and gate invokes them by number",
            format!(
                "aws lambda publish-version --function-name {name}; aws lambda update-alias --function-name {name} --name {alias} --function-version VERSION"
            ),
        );
    }
    if !weights.is_empty() {
        return Finding::new(
            Area::Subject,
            Level::Warning,
            format!("{patient} is at two versions"),
            "as it is while a deployment shifts; left so, every further deployment fails",
            format!(
                "aws lambda update-alias --function-name {name} --name {alias} --routing-config AdditionalVersionWeights={{}}"
            ),
        );
    }
    Finding::ok(Area::Subject, format!("{patient}: version {version}"))
}

/// Whether the function of an action hands questions over to gate; `None` where that cannot be read.
async fn hands_over(visit: &Visit, function: Option<&str>) -> Option<bool> {
    let function = function?;
    if visit.relay.as_deref().is_some_and(|relay| of_arn(relay) == of_arn(function)) {
        return Some(true);
    }
    let asked = visit.ask(&[Call::GetFunctionConfiguration], visit.aws.function(function)).await;
    asked.ok().map(|facts| is_relay(&facts))
}

/// The name of a function that may be given by its ARN.
fn of_arn(function: &str) -> String {
    function.split_once(":function:").map_or(function, |(_, name)| name).to_owned()
}

async fn last(visit: &Visit, id: Option<String>) -> Option<Last> {
    const TARGETS: [Call; 2] = [Call::ListDeploymentTargets, Call::BatchGetDeploymentTargets];
    let id = id?;
    let (facts, target) = tokio::join!(
        visit.ask(&[Call::GetDeployment], visit.aws.deployment(&id)),
        visit.ask(&TARGETS, visit.aws.deployment_target(&id))
    );
    Some(Last { facts: facts.ok(), target: target.ok().flatten(), id })
}

async fn groups(visit: &Visit, names: &[String], findings: &mut Vec<Finding>) -> Vec<Group> {
    let one = |name: &String| -> Doing<'_, Result<Group, (String, Unknown)>> {
        let name = name.clone();
        Box::pin(async move {
            let aws = visit.aws.as_ref();
            let facts = visit.ask(&[Call::DescribeTargetGroups], aws.target_group(&name)).await;
            let facts = match facts {
                Ok(facts) => facts,
                Err(error) => return Err((name, error)),
            };
            let health = visit.ask(&[Call::DescribeTargetHealth], aws.target_health(&facts.arn));
            let registered = health.await.ok();
            Ok(Group { name: short(&name), facts, registered })
        })
    };
    let mut found = Vec::new();
    for group in together(names.iter().take(GROUPS_MAX).map(one).collect()).await {
        match group {
            Ok(group) => found.push(group),
            Err((name, error)) if error.is(Failure::Missing) => findings.push(Finding::new(
                Area::Listeners,
                Level::Error,
                format!("target group {} does not exist", short(&name)),
                "green or blue has nowhere to be registered, and gate finds no target there",
                "name a target group that exists in the set-up of the deployment",
            )),
            // Said among the permissions.
            Err(_unknown) => {}
        }
    }
    found
}

/// `web-green` of a name, or of `arn:…:targetgroup/web-green/73e2…`.
pub(super) fn short(name: &str) -> String {
    let of_arn = name.split_once(":targetgroup/").and_then(|(_, path)| path.split('/').next());
    of_arn.unwrap_or(name).to_owned()
}
