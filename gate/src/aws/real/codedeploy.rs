//! CodeDeploy by the official SDK.

use aws_sdk_codedeploy::types::{
    AutoRollbackConfiguration, AutoRollbackEvent, DeploymentReadyAction, DeploymentStatus,
    DeploymentWaitType, LambdaTarget, LifecycleEvent as SdkEvent,
    LifecycleEventStatus as EventStatus, LoadBalancerInfo, StopStatus, TrafficRoute,
};

use super::super::codedeploy::{
    CodeDeploy, DeploymentFacts, DeploymentTarget, EcsTarget, FunctionTarget, GroupFacts,
    LifecycleEvent, Shift, TaskSet,
};
use super::super::{AwsError, Call, Reply};
use super::tries::turn;
use super::{PAGES_MAX, RealAws, absent, text};

/// Target ids for each call; an ECS deployment has one.
//= https://docs.aws.amazon.com/codedeploy/latest/APIReference/API_BatchGetDeploymentTargets.html
const TARGETS_MAX: usize = 25;

fn first_listener(route: Option<&TrafficRoute>) -> Option<String> {
    route?.listener_arns().first().cloned()
}

/// ARNs of the production and the test listener.
fn listeners(info: Option<&LoadBalancerInfo>) -> (Option<String>, Option<String>) {
    let pair = info.and_then(|info| info.target_group_pair_info_list().first());
    let production = pair.and_then(|pair| first_listener(pair.prod_traffic_route()));
    (production, pair.and_then(|pair| first_listener(pair.test_traffic_route())))
}

fn rolls_back(config: Option<&AutoRollbackConfiguration>, on: &AutoRollbackEvent) -> bool {
    config.is_some_and(|config| config.enabled && config.events().contains(on))
}

fn minutes(minutes: i32) -> u64 {
    u64::try_from(minutes).unwrap_or(0)
}

fn events(events: Option<Vec<SdkEvent>>) -> Vec<LifecycleEvent> {
    let events = events.unwrap_or_default().into_iter();
    let ours = |event: SdkEvent| {
        let status = text!(event.status).unwrap_or_default();
        Some(LifecycleEvent { name: event.lifecycle_event_name?, status })
    };
    events.filter_map(ours).collect()
}

fn function(target: LambdaTarget) -> Option<FunctionTarget> {
    let info = target.lambda_function_info?;
    Some(FunctionTarget {
        events: events(target.lifecycle_events),
        function: info.function_name?,
        alias: info.function_alias.unwrap_or_default(),
        current_version: info.current_version,
        target_version: info.target_version,
    })
}

impl CodeDeploy for RealAws {
    fn deployment<'a>(&'a self, id: &'a str) -> Reply<'a, DeploymentFacts> {
        Box::pin(async move {
            let call = self.codedeploy.get_deployment().deployment_id(id);
            let reply = self.ask(Call::GetDeployment, id, || call.clone().send()).await?;
            let info = reply
                .deployment_info
                .ok_or_else(|| absent(Call::GetDeployment, id, "deploymentInfo"))?;
            let rollback = info.auto_rollback_configuration.as_ref();
            let (production_listener, test_listener) = listeners(info.load_balancer_info.as_ref());
            let blue_green = info.blue_green_deployment_configuration.as_ref();
            let ready = blue_green.and_then(|config| config.deployment_ready_option());
            let ready = ready.filter(|ready| {
                ready.action_on_timeout() == Some(&DeploymentReadyAction::StopDeployment)
            });
            let end = blue_green
                .and_then(|config| config.terminate_blue_instances_on_deployment_success());
            let error = info.error_information.map(|error| {
                let code = text!(error.code).unwrap_or_default();
                format!("{code}: {}", error.message.unwrap_or_default())
            });
            Ok(DeploymentFacts {
                application: info.application_name.unwrap_or_default(),
                group: info.deployment_group_name.unwrap_or_default(),
                platform: text!(info.compute_platform).unwrap_or_default(),
                status: text!(info.status).unwrap_or_default(),
                creator: text!(info.creator).unwrap_or_default(),
                rolls_back_on_failure: rolls_back(rollback, &AutoRollbackEvent::DeploymentFailure),
                production_listener,
                test_listener,
                config: info.deployment_config_name,
                ready_wait_minutes: ready.map(|ready| minutes(ready.wait_time_in_minutes)),
                termination_wait_minutes: end
                    .map(|end| minutes(end.termination_wait_time_in_minutes)),
                error,
                began_unix_seconds: info.create_time.map(|at| at.secs()),
                rolled_back_by: info.rollback_info.and_then(|info| info.rollback_deployment_id),
            })
        })
    }

    fn deployment_target<'a>(&'a self, id: &'a str) -> Reply<'a, Option<DeploymentTarget>> {
        Box::pin(async move {
            let call = self.codedeploy.list_deployment_targets().deployment_id(id);
            let (mut ids, mut token) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let call = call.clone().set_next_token(token.clone());
                let send = || call.clone().send();
                let page = match self.ask(Call::ListDeploymentTargets, id, send).await {
                    // Early on there are none: "the deployment has not started".
                    Err(error) if error.code == "DeploymentNotStartedException" => return Ok(None),
                    other => other?,
                };
                ids.extend(page.target_ids.unwrap_or_default());
                if ids.len() >= TARGETS_MAX || !turn(&mut token, page.next_token) {
                    break;
                }
            }
            ids.truncate(TARGETS_MAX);
            if ids.is_empty() {
                return Ok(None);
            }
            let call = self.codedeploy.batch_get_deployment_targets().deployment_id(id);
            let call = call.set_target_ids(Some(ids));
            let send = || call.clone().send();
            let targets = self.ask(Call::BatchGetDeploymentTargets, id, send).await?;
            let mut targets = targets.deployment_targets.unwrap_or_default().into_iter();
            Ok(targets.find_map(|target| {
                if let Some(target) = target.lambda_target {
                    return function(target).map(DeploymentTarget::Function);
                }
                let target = target.ecs_target?;
                let task_sets = target.task_sets_info().iter().map(|set| TaskSet {
                    // The field is misspelt for ever.
                    id: set.identifer().unwrap_or_default().to_owned(),
                    label: text!(set.task_set_label()).unwrap_or_default(),
                    target_group: set.target_group().and_then(|group| group.name.clone()),
                    weight: Some(set.traffic_weight()),
                });
                Some(DeploymentTarget::Ecs(EcsTarget {
                    id: target.target_id().unwrap_or_default().to_owned(),
                    task_sets: task_sets.collect(),
                    events: events(target.lifecycle_events),
                }))
            }))
        })
    }

    fn shift<'a>(&'a self, config: &'a str) -> Reply<'a, Shift> {
        Box::pin(async move {
            let call = self.codedeploy.get_deployment_config().deployment_config_name(config);
            let reply = self.ask(Call::GetDeploymentConfig, config, || call.clone().send()).await?;
            let routing = reply.deployment_config_info.and_then(|info| info.traffic_routing_config);
            let Some(routing) = routing else { return Ok(Shift::default()) };
            let canary = routing.time_based_canary().map(|canary| minutes(canary.canary_interval));
            // The first step is taken at once, the others after an interval each.
            let linear = routing.time_based_linear().map(|linear| {
                let steps = 100_i32.checked_div(linear.linear_percentage).unwrap_or(1).max(1);
                let rest = i32::from(100 % linear.linear_percentage.max(1) > 0);
                minutes(steps + rest - 1) * minutes(linear.linear_interval)
            });
            Ok(Shift { minutes: canary.or(linear).unwrap_or(0) })
        })
    }

    fn answer_hook<'a>(
        &'a self,
        id: &'a str,
        execution: &'a str,
        succeeded: bool,
    ) -> Reply<'a, ()> {
        // Only these two are accepted, though the model lists six.
        let status = if succeeded { EventStatus::Succeeded } else { EventStatus::Failed };
        Box::pin(async move {
            let call = self
                .codedeploy
                .put_lifecycle_event_hook_execution_status()
                .deployment_id(id)
                .lifecycle_event_hook_execution_id(execution)
                .status(status);
            let reply =
                self.tell(Call::PutLifecycleEventHookExecutionStatus, id, call.send()).await;
            // Whatever AWS says of the token, it goes no further.
            let redact = |error: AwsError| AwsError {
                message: error.message.replace(execution, "[token]"),
                ..error
            };
            reply.map(|_reply| ()).map_err(redact)
        })
    }

    fn end_ready_wait<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let call = self
                .codedeploy
                .continue_deployment()
                .deployment_id(id)
                .deployment_wait_type(DeploymentWaitType::ReadyWait);
            self.tell(Call::ContinueDeployment, id, call.send()).await.map(|_reply| ())
        })
    }

    fn stop_with_rollback<'a>(&'a self, id: &'a str) -> Reply<'a, bool> {
        Box::pin(async move {
            // Without a rollback an alias stays on two versions, and every later deployment fails.
            let call =
                self.codedeploy.stop_deployment().deployment_id(id).auto_rollback_enabled(true);
            let reply = self.ask(Call::StopDeployment, id, || call.clone().send()).await?;
            Ok(reply.status() == Some(&StopStatus::Succeeded))
        })
    }

    fn ready_deployments<'a>(
        &'a self,
        application: &'a str,
        group: &'a str,
    ) -> Reply<'a, Vec<String>> {
        Box::pin(async move {
            let call = self
                .codedeploy
                .list_deployments()
                .application_name(application)
                .deployment_group_name(group)
                .include_only_statuses(DeploymentStatus::Ready);
            let (mut found, mut token) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let call = call.clone().set_next_token(token.clone());
                let send = || call.clone().send();
                let page = self.ask(Call::ListDeployments, application, send).await?;
                found.extend(page.deployments.unwrap_or_default());
                if !turn(&mut token, page.next_token) {
                    break;
                }
            }
            Ok(found)
        })
    }

    fn deployment_group<'a>(
        &'a self,
        application: &'a str,
        group: &'a str,
    ) -> Reply<'a, GroupFacts> {
        Box::pin(async move {
            let call = self
                .codedeploy
                .get_deployment_group()
                .application_name(application)
                .deployment_group_name(group);
            let reply = self.ask(Call::GetDeploymentGroup, group, || call.clone().send()).await?;
            let info = reply
                .deployment_group_info
                .ok_or_else(|| absent(Call::GetDeploymentGroup, group, "deploymentGroupInfo"))?;
            let rollback = info.auto_rollback_configuration.as_ref();
            let balancers = info.load_balancer_info.as_ref();
            let (production_listener, test_listener) = listeners(balancers);
            let pairs = balancers.map(LoadBalancerInfo::target_group_pair_info_list);
            let groups = pairs.unwrap_or_default().iter().flat_map(|pair| pair.target_groups());
            let alarms = info.alarm_configuration.as_ref().filter(|alarms| alarms.enabled);
            let alarms = alarms.map(|alarms| alarms.alarms()).unwrap_or_default().iter();
            let services = info.ecs_services().iter().filter_map(|service| {
                Some(format!("{}:{}", service.cluster_name()?, service.service_name()?))
            });
            let ready = info
                .blue_green_deployment_configuration
                .as_ref()
                .and_then(|config| config.deployment_ready_option())
                .filter(|ready| {
                    ready.action_on_timeout() == Some(&DeploymentReadyAction::StopDeployment)
                });
            let last = info.last_attempted_deployment.as_ref();
            Ok(GroupFacts {
                platform: info
                    .compute_platform
                    .as_ref()
                    .map(|platform| platform.as_str().to_owned())
                    .unwrap_or_default(),
                services: services.collect(),
                rolls_back_on_failure: rolls_back(rollback, &AutoRollbackEvent::DeploymentFailure),
                rolls_back_on_stop: rolls_back(
                    rollback,
                    &AutoRollbackEvent::DeploymentStopOnRequest,
                ),
                production_listener,
                test_listener,
                target_groups: groups.filter_map(|group| group.name.clone()).collect(),
                alarms: alarms.filter_map(|alarm| alarm.name.clone()).collect(),
                ready_wait_minutes: ready.map(|ready| minutes(ready.wait_time_in_minutes)),
                last_deployment: last.and_then(|last| last.deployment_id.clone()),
                config: info.deployment_config_name,
                service_role: info.service_role_arn,
            })
        })
    }
}
