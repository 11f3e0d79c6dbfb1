//! What came of every question, by what the emulated AWS accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::Command;
use std::time::Duration;

use ::tests::{http, place};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The calls that are answers: each with what is asked, and with what is said, in its parameters.
const ANSWERS: [(&str, &str, &str); 3] = [
    ("PutApprovalResult", "/token", "/result/status"),
    ("PutLifecycleEventHookExecutionStatus", "/lifecycleEventHookExecutionId", "/status"),
    ("ContinueServiceDeployment", "/hookId", "/action"),
];
/// Answers are looked at so often: the emulated AWS remembers so many calls and no more.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    pub(crate) late: u64,
    /// Releases that fail, and that were answered with anything but a refusal.
    pub(crate) let_through: usize,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, answered, lost, twice, late, let_through: _ } = self;
        write!(f, "asked {asked} answered {answered} lost {lost} twice {twice} late {late}")
    }
}

impl Counted {
    /// Whether every question was answered once and in time.
    pub(crate) const fn is_right(&self) -> bool {
        self.asked > 0
            && self.asked == self.answered
            && self.lost == 0
            && self.twice == 0
            && self.late == 0
            && self.let_through == 0
    }

    /// Counts a question that so many answers were accepted to, and that timed out or not.
    pub(crate) fn count(&mut self, accepted: usize, refused: bool) {
        self.asked += 1;
        match accepted {
            0 if refused => self.late += 1,
            0 => self.lost += 1,
            1 => self.answered += 1,
            _ => {
                self.answered += 1;
                self.twice += 1;
            }
        }
    }
}

/// Every call of a gate's that is an answer.
#[derive(Debug, Default)]
pub(crate) struct Said(BTreeSet<(String, u16, String)>);

impl Said {
    /// Answers by this call whose parameters contain this text: accepted, and refused.
    pub(crate) fn about(&self, operation: &str, text: &str) -> (usize, usize) {
        let about = self.0.iter().filter(|(call, _status, parameters)| {
            call.starts_with(operation) && parameters.contains(text)
        });
        let (accepted, refused): (Vec<_>, Vec<_>) = about.partition(|(_, status, _)| *status < 300);
        (accepted.len(), refused.len())
    }

    /// Questions that gates said different things to, accepted or not: AWS takes the first of them only, so the other
    /// is not seen by what became of the question.
    ///
    /// # Errors
    /// An answer whose parameters cannot be read.
    pub(crate) fn contradicted(&self) -> Result<Vec<String>, String> {
        let mut words: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (call, _status, parameters) in &self.0 {
            let read: Value = serde_json::from_str(parameters)
                .map_err(|error| format!("{call}: {error}: {parameters}"))?;
            let of = ANSWERS.iter().find(|(operation, ..)| call.starts_with(operation));
            let said = of.and_then(|(_, asked, said)| {
                Some((read.pointer(asked)?.as_str()?, read.pointer(said)?.as_str()?))
            });
            let (asked, said) = said.ok_or_else(|| format!("{call}: {parameters}"))?;
            words.entry(asked.to_owned()).or_default().insert(said.to_owned());
        }
        let different = words.into_iter().filter(|(_, said)| said.len() > 1);
        Ok(different.map(|(asked, said)| format!("{asked}: {said:?}")).collect())
    }
}

/// Gathers answers until it is ended.
#[derive(Debug)]
pub(crate) struct Answers {
    end: oneshot::Sender<()>,
    gathering: JoinHandle<Said>,
}

impl Answers {
    pub(crate) fn gather(endpoint: &str, replicas: usize) -> Self {
        let (end, mut ending) = oneshot::channel();
        let endpoint = endpoint.to_owned();
        let gathering = tokio::spawn(async move {
            let mut said = Said::default();
            loop {
                let over = tokio::time::timeout(LOOK_EVERY, &mut ending).await.is_ok();
                look(&endpoint, replicas, &mut said).await;
                if over {
                    return said;
                }
            }
        });
        Self { end, gathering }
    }

    pub(crate) async fn end(self) -> Said {
        drop(self.end);
        self.gathering.await.expect("it ends")
    }
}

async fn look(endpoint: &str, replicas: usize, said: &mut Said) {
    let answers = ANSWERS.iter().map(|(operation, ..)| operation);
    for (operation, replica) in
        answers.flat_map(|operation| (0..replicas).map(move |replica| (operation, replica)))
    {
        let url = format!(
            "{endpoint}/_emulated/requests?operation={operation}&access_key=replica-{replica}"
        );
        let found = http::get(&url).await.expect("the control API answers").json();
        for call in found["requests"].as_array().expect("a list") {
            let status = call["status"].as_u64().and_then(|status| status.try_into().ok());
            said.0.insert((
                // With its moment, so that two of the same words are two.
                format!("{operation} {replica} {}", call["at"]),
                status.unwrap_or(0),
                call["params"].as_str().unwrap_or_default().to_owned(),
            ));
        }
    }
}

/// What is in the table: questions, those with ticks by one gate and then by another, and those with two decisions.
pub(crate) async fn table(endpoint: &str, name: &str) -> Value {
    const LOOK: &str = "
import boto3, gzip, json, sys
table = boto3.resource(
    'dynamodb', region_name='us-east-1', endpoint_url=sys.argv[1],
    aws_access_key_id='person', aws_secret_access_key='emulated').Table(sys.argv[2])
items, page = [], {}
while True:
    found = table.scan(ConsistentRead=True, **page)
    items += found['Items']
    if 'LastEvaluatedKey' not in found:
        break
    page = {'ExclusiveStartKey': found['LastEvaluatedKey']}
questions = {}
for item in sorted(items, key=lambda item: (item['question'], item['entry'])):
    if '/' not in item['question']:
        questions.setdefault(item['question'], []).append(item)
def body(item):
    text = item['body']
    return json.loads(text if isinstance(text, str) else gzip.decompress(bytes(text)))
handed = decided_twice = gates = taken_over = still_open = entries = 0
for header, *log in questions.values():
    assert [item['entry'] for item in log] == list(range(1, len(log) + 1)), header['question']
    entries += len(log)
    still_open += 'open' in header
    bodies = [(item['by'], body(item)) for item in log]
    ticks = [by for by, entry in bodies if 'ticked' in entry.get('fact', {}).get('fact', {})]
    handed += len(set(ticks)) > 1
    taken_over += len({by for by, _ in bodies} | {header['by']}) > 1
    decided_twice += sum('decided' in entry for _, entry in bodies) > 1
print(json.dumps({
    'questions': len(questions), 'entries': entries, 'taken_over': taken_over, 'handed_over': handed,
    'decided_twice': decided_twice, 'open': still_open}))
";
    let python = place::root().join(".venv/bin/python");
    let mut command = Command::new(python);
    command.args(["-c", LOOK, endpoint, name]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined");
    let output = output.expect("python runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("counts in JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &[(&str, u16, &str)], contradicted: &[&str]) {
        let said = said.iter().enumerate().map(|(number, (call, status, parameters))| {
            (format!("{call} 0 {number}"), *status, (*parameters).to_owned())
        });
        assert_eq!(Said(said.collect()).contradicted().unwrap(), contradicted);
    }

    #[test]
    fn a_second_answer_that_differs_is_seen_though_it_was_refused() {
        let approved = r#"{"token": "t", "result": {"status": "Approved", "summary": "fine"}}"#;
        let rejected = r#"{"token": "t", "result": {"status": "Rejected", "summary": "bad"}}"#;
        let go_on = r#"{"hookId": "h", "action": "CONTINUE"}"#;
        let put = "PutApprovalResult";
        check(&[(put, 200, approved), (put, 400, approved)], &[]);
        check(&[(put, 200, approved), ("ContinueServiceDeployment", 200, go_on)], &[]);
        check(&[(put, 200, approved), (put, 400, rejected)], &[r#"t: {"Approved", "Rejected"}"#]);
    }

    #[test]
    #[should_panic(expected = "PutApprovalResult")]
    fn an_answer_that_cannot_be_read_is_no_agreement() {
        check(&[("PutApprovalResult", 200, r#"{"token": "t"}"#)], &[]);
    }
}
