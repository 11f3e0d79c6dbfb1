//! ECS by the official SDK.

use aws_sdk_ecs::types::{
    DeploymentConfiguration, DeploymentLifecycleHookAction, DeploymentLifecycleHookDetail,
    DesiredStatus, ServiceDeployment as SdkDeployment, ServiceDeploymentStatus,
    ServiceRevision as SdkRevision, StopServiceDeploymentStopType, Task, TaskSet,
};

use super::super::ecs::{
    ContainerFacts, Ecs, HookFacts, Pause, ServiceDeployment, ServiceFacts, ServiceRevision,
    TaskFacts, TaskSetFacts,
};
use super::super::{AwsError, Call, Reply};
use super::tries::turn;
use super::{PAGES_MAX, RealAws, absent, text};

fn step(config: &DeploymentConfiguration) -> Option<(f64, u64)> {
    let minutes = |minutes: Option<i32>| u64::try_from(minutes.unwrap_or(0)).unwrap_or(0);
    if let Some(linear) = config.linear_configuration() {
        return Some((linear.step_percent?, minutes(linear.step_bake_time_in_minutes)));
    }
    let canary = config.canary_configuration()?;
    Some((canary.canary_percent?, minutes(canary.canary_bake_time_in_minutes)))
}

fn hook(detail: DeploymentLifecycleHookDetail) -> Option<HookFacts> {
    Some(HookFacts {
        id: detail.hook_id?,
        kind: text!(detail.target_type).unwrap_or_default(),
        status: text!(detail.status).unwrap_or_default(),
        expires_unix_seconds: detail.expires_at.map(|at| at.secs()),
    })
}

fn deployment(arn: &str, found: SdkDeployment) -> ServiceDeployment {
    let config = found.deployment_configuration.as_ref();
    let target = found.target_service_revision.as_ref();
    let sources = found.source_service_revisions().iter();
    ServiceDeployment {
        arn: arn.to_owned(),
        source_revisions: sources.filter_map(|revision| revision.arn.clone()).collect(),
        target_revision: target.and_then(|revision| revision.arn.clone()),
        green_weight: target.and_then(|revision| revision.requested_production_traffic_weight),
        strategy: config
            .and_then(|config| config.strategy())
            .map(|strategy| strategy.as_str().to_owned())
            .unwrap_or_default(),
        step: config.and_then(step),
        bake_minutes: config
            .and_then(|config| config.bake_time_in_minutes)
            .and_then(|minutes| u64::try_from(minutes).ok())
            .unwrap_or(0),
        service_arn: found.service_arn.unwrap_or_default(),
        cluster_arn: found.cluster_arn.unwrap_or_default(),
        began_unix_seconds: found.created_at.map(|at| at.secs()),
        status: text!(found.status).unwrap_or_default(),
        status_reason: found.status_reason,
        stage: text!(found.lifecycle_stage),
        hooks: found
            .lifecycle_hook_details
            .unwrap_or_default()
            .into_iter()
            .filter_map(hook)
            .collect(),
    }
}

fn revision(found: SdkRevision) -> ServiceRevision {
    let resolved = found.resolved_configuration.and_then(|resolved| resolved.load_balancers);
    let resolved = resolved.unwrap_or_default();
    let advanced = found.load_balancers.unwrap_or_default();
    let mut advanced = advanced.into_iter().filter_map(|balancer| balancer.advanced_configuration);
    let advanced = advanced.next();
    ServiceRevision {
        arn: found.service_revision_arn.unwrap_or_default(),
        target_groups: resolved.iter().filter_map(|group| group.target_group_arn.clone()).collect(),
        production_rule: resolved
            .iter()
            .find_map(|group| group.production_listener_rule.clone())
            .or_else(|| advanced.as_ref().and_then(|a| a.production_listener_rule.clone())),
        test_rule: advanced.and_then(|advanced| advanced.test_listener_rule),
        task_definition: found.task_definition,
    }
}

fn task(found: Task) -> TaskFacts {
    let containers = found.containers.unwrap_or_default().into_iter();
    TaskFacts {
        arn: found.task_arn.unwrap_or_default(),
        started_by: found.started_by,
        group: found.group,
        task_definition: found.task_definition_arn,
        status: found.last_status.unwrap_or_default(),
        stop_code: text!(found.stop_code),
        stopped_reason: found.stopped_reason,
        stopped_unix_seconds: found.stopped_at.map(|at| at.secs()),
        containers: containers
            .map(|container| ContainerFacts {
                name: container.name.unwrap_or_default(),
                exit_code: container.exit_code,
                reason: container.reason,
            })
            .collect(),
    }
}

fn task_set(found: TaskSet) -> TaskSetFacts {
    TaskSetFacts {
        id: found.id.unwrap_or_default(),
        created_unix_millis: found.created_at.and_then(|at| at.to_millis().ok()),
    }
}

impl RealAws {
    async fn described(
        &self,
        cluster: &str,
        arns: Vec<String>,
    ) -> Result<Vec<TaskFacts>, AwsError> {
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.ecs.describe_tasks().cluster(cluster).set_tasks(Some(arns));
        let reply = self.ask(Call::DescribeTasks, cluster, || call.clone().send()).await?;
        Ok(reply.tasks.unwrap_or_default().into_iter().map(task).collect())
    }
}

impl Ecs for RealAws {
    fn deployments_under_way<'a>(
        &'a self,
        cluster: &'a str,
        service: &'a str,
    ) -> Reply<'a, Vec<String>> {
        Box::pin(async move {
            let call = self
                .ecs
                .list_service_deployments()
                .cluster(cluster)
                .service(service)
                .status(ServiceDeploymentStatus::Pending)
                .status(ServiceDeploymentStatus::InProgress);
            let (mut found, mut token) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let call = call.clone().set_next_token(token.clone());
                let send = || call.clone().send();
                let page = self.ask(Call::ListServiceDeployments, service, send).await?;
                let briefs = page.service_deployments.unwrap_or_default().into_iter();
                found.extend(briefs.filter_map(|brief| brief.service_deployment_arn));
                if !turn(&mut token, page.next_token) {
                    break;
                }
            }
            Ok(found)
        })
    }

    fn service_deployment<'a>(&'a self, arn: &'a str) -> Reply<'a, ServiceDeployment> {
        const CALL: Call = Call::DescribeServiceDeployments;
        Box::pin(async move {
            let call = self.ecs.describe_service_deployments().service_deployment_arns(arn);
            let reply = self.ask(CALL, arn, || call.clone().send()).await?;
            let found = reply.service_deployments.unwrap_or_default().into_iter().next();
            found.map(|found| deployment(arn, found)).ok_or_else(|| {
                let why = reply.failures.unwrap_or_default().into_iter().find_map(|f| f.reason);
                // ECS says what is not there beside what is, not as an error.
                match why.as_deref() {
                    Some("MISSING") => AwsError::missing(CALL, arn),
                    _ => absent(CALL, arn, "serviceDeployments"),
                }
            })
        })
    }

    fn service_revisions<'a>(&'a self, arns: &'a [String]) -> Reply<'a, Vec<ServiceRevision>> {
        Box::pin(async move {
            let subject = arns.first().map_or("", String::as_str);
            let call = self.ecs.describe_service_revisions();
            let call = call.set_service_revision_arns(Some(arns.to_vec()));
            let reply =
                self.ask(Call::DescribeServiceRevisions, subject, || call.clone().send()).await?;
            Ok(reply.service_revisions.unwrap_or_default().into_iter().map(revision).collect())
        })
    }

    fn answer_pause<'a>(&'a self, arn: &'a str, hook_id: &'a str, proceed: bool) -> Reply<'a, ()> {
        // Named always: the action by default is to continue.
        let action = if proceed {
            DeploymentLifecycleHookAction::Continue
        } else {
            DeploymentLifecycleHookAction::Rollback
        };
        Box::pin(async move {
            let call = self
                .ecs
                .continue_service_deployment()
                .service_deployment_arn(arn)
                .hook_id(hook_id)
                .action(action);
            self.tell(Call::ContinueServiceDeployment, arn, call.send()).await.map(|_reply| ())
        })
    }

    fn stop_service_deployment<'a>(&'a self, arn: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let call = self
                .ecs
                .stop_service_deployment()
                .service_deployment_arn(arn)
                .stop_type(StopServiceDeploymentStopType::Rollback);
            self.ask(Call::StopServiceDeployment, arn, || call.clone().send())
                .await
                .map(|_reply| ())
        })
    }

    fn tasks<'a>(
        &'a self,
        cluster: &'a str,
        service: &'a str,
        stopped: bool,
    ) -> Reply<'a, Vec<TaskFacts>> {
        let status = if stopped { DesiredStatus::Stopped } else { DesiredStatus::Running };
        Box::pin(async move {
            let call = self.ecs.list_tasks().cluster(cluster).service_name(service);
            let call = call.desired_status(status);
            let (mut tasks, mut token) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let call = call.clone().set_next_token(token.clone());
                let page = self.ask(Call::ListTasks, service, || call.clone().send()).await?;
                // A page has as many tasks as can be described at once.
                tasks.extend(self.described(cluster, page.task_arns.unwrap_or_default()).await?);
                if !turn(&mut token, page.next_token) {
                    break;
                }
            }
            Ok(tasks)
        })
    }

    fn task<'a>(&'a self, cluster: &'a str, arn: &'a str) -> Reply<'a, Option<TaskFacts>> {
        Box::pin(async move {
            Ok(self.described(cluster, vec![arn.to_owned()]).await?.into_iter().next())
        })
    }

    fn service<'a>(&'a self, cluster: &'a str, service: &'a str) -> Reply<'a, ServiceFacts> {
        const CALL: Call = Call::DescribeServices;
        Box::pin(async move {
            let call = self.ecs.describe_services().cluster(cluster).services(service);
            let reply = self.ask(CALL, service, || call.clone().send()).await?;
            let found = reply.services.unwrap_or_default().into_iter().next();
            let found = found.ok_or_else(|| AwsError::missing(CALL, service))?;
            let task_sets = found.task_sets.unwrap_or_default().into_iter().map(task_set).collect();
            let config = found.deployment_configuration;
            let hooks = config.as_ref().map(|config| config.lifecycle_hooks()).unwrap_or_default();
            let (mut pauses, mut functions) = (Vec::new(), Vec::new());
            for hook in hooks {
                let stages = hook.lifecycle_stages().iter().map(|stage| stage.as_str().to_owned());
                match &hook.hook_target_arn {
                    Some(arn) => functions.push((arn.clone(), stages.collect())),
                    // DescribeServices shows pauses without saying that they are, and was seen to leave out
                    // how long they wait.
                    None => {
                        let timeout = hook.timeout_configuration.as_ref();
                        pauses.push(Pause {
                            stages: stages.collect(),
                            timeout_minutes: timeout
                                .and_then(|timeout| timeout.timeout_in_minutes)
                                .and_then(|minutes| u64::try_from(minutes).ok()),
                            timeout_action: text!(timeout.and_then(|timeout| timeout.action())),
                        });
                    }
                }
            }
            let balancers = found.load_balancers.unwrap_or_default();
            let advanced: Vec<_> =
                balancers.iter().filter_map(|b| b.advanced_configuration.as_ref()).collect();
            let groups = balancers.iter().filter_map(|balancer| balancer.target_group_arn.clone());
            let others = advanced.iter().filter_map(|a| a.alternate_target_group_arn.clone());
            let alarms = config.as_ref().and_then(|config| config.alarms.as_ref());
            let alarms = alarms.filter(|alarms| alarms.enable).map(|alarms| alarms.alarm_names());
            Ok(ServiceFacts {
                controller: found
                    .deployment_controller
                    .map_or_else(|| "ECS".to_owned(), |c| c.r#type.as_str().to_owned()),
                strategy: config
                    .as_ref()
                    .and_then(|config| config.strategy())
                    .map_or_else(|| "ROLLING".to_owned(), |s| s.as_str().to_owned()),
                arn: found.service_arn.unwrap_or_default(),
                production_rules: advanced
                    .iter()
                    .filter_map(|a| a.production_listener_rule.clone())
                    .collect(),
                test_rules: advanced.iter().filter_map(|a| a.test_listener_rule.clone()).collect(),
                target_groups: groups.chain(others).collect(),
                alarms: alarms.unwrap_or_default().to_vec(),
                pauses,
                functions,
                task_sets,
            })
        })
    }
}
