//! Green's tasks that stopped by themselves: a container ended, or the task never started.

use std::collections::BTreeMap;

use policies::Reading;
use policies::plan::{Observation, Observed};
use policies::policy::TASKS_PERIOD;
use policies::reading::{Seen, StoppedTask};
use tokio::time::sleep;

use super::Reader;
use super::trouble::{Trouble, reason};
use crate::aws::AwsError;
use crate::aws::ecs::TaskFacts;

/// Tasks that are told of, the earliest first: a crash loop says the same again and again.
const TOLD_MAX: usize = 5;
/// Stopped tasks that are remembered; ECS itself shows them for an hour.
const REMEMBERED_MAX: usize = 1000;
/// Characters of a reason that are kept.
const REASON_MAX: usize = 256;

/// Why a task stopped that stopped by itself. People, the scheduler, spot markets and hardware stop tasks too, and say
/// nothing of the release.
//= https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html
const BY_ITSELF: [&str; 2] = ["EssentialContainerExited", "TaskFailedToStart"];

/// What was seen of green's tasks so far.
#[derive(Debug, Default)]
struct Stopped {
    /// By ARN: when it stopped, and how.
    stopped: BTreeMap<String, (i64, StoppedTask)>,
    /// Any task of green was seen, so that none in a list is none indeed.
    any: bool,
}

/// Reads for as long as anybody listens.
pub(super) async fn read(reader: Reader, observed: &[Observed]) {
    let wants = |observed: &&Observed| matches!(observed.what, Observation::StoppedTasks);
    let objectives: Vec<&str> =
        observed.iter().filter(wants).map(|observed| observed.objective.as_str()).collect();
    if objectives.is_empty() {
        return;
    }
    let mut seen = Stopped::default();
    let mut trouble = Trouble::default();
    loop {
        let mut wait = TASKS_PERIOD;
        let readings = match look(&reader, &mut seen).await {
            Ok(true) => {
                trouble.over("tasks");
                let began_millis = reader.clock.now_millis();
                let reading = |objective: &&str| Reading {
                    objective: (*objective).to_owned(),
                    began_millis,
                    seen: seen.reading(),
                };
                objectives.iter().map(reading).collect()
            }
            Ok(false) => {
                let what = "no task of green is known yet".to_owned();
                trouble.say("tasks", what);
                reader.lost("tasks", "no-tasks");
                Vec::new()
            }
            Err(error) => {
                wait = wait.max(trouble.failed("tasks", error.story()));
                reader.lost("tasks", reason(&error));
                Vec::new()
            }
        };
        if !reader.tell(readings).await {
            return;
        }
        sleep(wait).await;
    }
}

/// Looks once. False where no task of green was ever seen: what nobody knows of did not hold.
async fn look(reader: &Reader, seen: &mut Stopped) -> Result<bool, AwsError> {
    let measured = reader.measured();
    let (Some((cluster, service)), Some(green)) = (&measured.service, &measured.tasks) else {
        return Ok(false);
    };
    let aws = reader.aws().await;
    let mut stopped = aws.tasks(cluster, service, true).await?;
    stopped.retain(|task| green.holds(task));
    seen.take(&stopped, reader.clock.accepted_unix_millis.div_euclid(1000));
    if !seen.any {
        let running = aws.tasks(cluster, service, false).await?;
        seen.any = running.iter().any(|task| green.holds(task));
    }
    Ok(seen.any)
}

impl Stopped {
    /// Takes tasks that stopped; those that did before `since` are another question's.
    fn take(&mut self, tasks: &[TaskFacts], since_unix_seconds: i64) {
        self.any |= !tasks.is_empty();
        for task in tasks {
            let by_itself = task.stop_code.as_deref().is_some_and(|code| BY_ITSELF.contains(&code));
            // One that is still stopping is seen again once it has stopped.
            let Some(at) = task.stopped_unix_seconds else { continue };
            let is_room = self.stopped.len() < REMEMBERED_MAX;
            if by_itself && at >= since_unix_seconds && is_room {
                self.stopped.entry(task.arn.clone()).or_insert_with(|| (at, told(task)));
            }
        }
    }

    fn reading(&self) -> Seen {
        let mut tasks: Vec<&(i64, StoppedTask)> = self.stopped.values().collect();
        tasks.sort_by_key(|(at, _)| *at);
        let count = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        let first = tasks.into_iter().take(TOLD_MAX);
        Seen::Stopped { count, tasks: first.map(|(_, task)| task.clone()).collect() }
    }
}

/// The container that ended it, and why.
fn told(task: &TaskFacts) -> StoppedTask {
    let failed = |exit_code: Option<i32>| exit_code.is_some_and(|code| code != 0);
    let containers = &task.containers;
    let worst = containers.iter().find(|container| failed(container.exit_code));
    let worst = worst.or_else(|| containers.iter().find(|container| container.reason.is_some()));
    let worst = worst.or_else(|| containers.iter().find(|c| c.exit_code.is_some()));
    let worst = worst.or_else(|| containers.first());
    let reason = worst.and_then(|container| container.reason.clone());
    let reason = reason.or_else(|| task.stopped_reason.clone()).unwrap_or_default();
    StoppedTask {
        container: worst.map(|container| container.name.clone()).unwrap_or_default(),
        exit_code: worst.and_then(|container| container.exit_code),
        reason: reason.chars().take(REASON_MAX).collect(),
    }
}
