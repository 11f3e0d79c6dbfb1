//! Somebody who makes many calls of AWS one after the other: one process of Python for all of them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::place;

const CALLS: &str = "
import botocore.session, json, sys
session, clients = botocore.session.get_session(), {}
def client(service):
    if service not in clients:
        clients[service] = session.create_client(
            service, region_name='us-east-1', endpoint_url=sys.argv[1],
            aws_access_key_id='person', aws_secret_access_key='emulated')
    return clients[service]
for line in sys.stdin:
    service, operation, parameters = json.loads(line)
    try:
        answer = {'ok': client(service)._make_api_call(operation, parameters)}
    except Exception as error:
        answer = {'error': str(error)}
    print(json.dumps(answer, default=str), flush=True)
";

/// A table that gates can share; deploy/replicas.cloudformation.yaml makes the same.
fn table(name: &str) -> Value {
    let attribute = |name, of| json!({ "AttributeName": name, "AttributeType": of });
    let key = |name, of| json!({ "AttributeName": name, "KeyType": of });
    let index = |name, projected: &[&str]| {
        json!({
            "IndexName": name,
            "KeySchema": [key(name, "HASH"), key("accepted", "RANGE")],
            "Projection": { "ProjectionType": "INCLUDE", "NonKeyAttributes": projected },
        })
    };
    json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            attribute("question", "S"), attribute("entry", "N"), attribute("accepted", "N"),
            attribute("open", "S"), attribute("listed", "S"),
        ],
        "KeySchema": [key("question", "HASH"), key("entry", "RANGE")],
        "GlobalSecondaryIndexes": [
            index("open", &["owner", "told"]),
            index("listed", &["deployment", "decision", "closed"]),
        ],
    })
}

/// The person.
#[derive(Clone, Debug)]
pub struct Person(Arc<Mutex<Pipes>>);

#[derive(Debug)]
struct Pipes {
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Person {
    /// Somebody who calls the AWS at this endpoint.
    pub fn of(endpoint: &str) -> Self {
        let mut process = place::python()
            .args(["-c", CALLS, endpoint])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().expect("a pipe"));
        Self(Arc::new(Mutex::new(Pipes { process, to, from })))
    }

    /// Makes one call.
    ///
    /// # Errors
    /// What AWS says of it.
    pub async fn try_call(
        &self,
        service: &str,
        operation: &str,
        parameters: Value,
    ) -> Result<Value, String> {
        let line = format!("{}\n", json!([service, operation, parameters]));
        let pipes = Arc::clone(&self.0);
        let asking = move || {
            let mut pipes = pipes.lock().expect("nobody panicked");
            let to = pipes.to.as_mut().expect("a pipe");
            to.write_all(line.as_bytes()).expect("python reads");
            to.flush().expect("python reads");
            let mut answer = String::new();
            pipes.from.read_line(&mut answer).expect("python answers");
            answer
        };
        let answer = tokio::task::spawn_blocking(asking).await.expect("joined");
        let mut answer: Value = serde_json::from_str(&answer).expect("an answer in JSON");
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Makes one call that succeeds.
    pub async fn call(&self, service: &str, operation: &str, parameters: Value) -> Value {
        let answer = self.try_call(service, operation, parameters).await;
        answer.unwrap_or_else(|error| panic!("{service} {operation}: {error}"))
    }

    /// Makes a table that gates can share.
    pub async fn make_table(&self, name: &str) {
        self.call("dynamodb", "CreateTable", table(name)).await;
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        drop(self.to.take());
        drop(self.process.wait());
    }
}
