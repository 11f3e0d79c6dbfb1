//! The emulated AWS as a process, and services in it, set up and deployed as a pipeline would.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{eventually, http, place};

/// The emulated AWS. It ends when its standard input does: with this handle, or with this process,
/// however that ends.
#[derive(Debug)]
pub struct EmulatedAws {
    /// What `AWS_ENDPOINT_URL` is set to.
    pub endpoint: String,
    process: Child,
    stdin: Option<ChildStdin>,
}

impl EmulatedAws {
    /// Starts it on a free port; waits until it serves.
    pub fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["--exit-with-stdin"];
        all.extend(arguments);
        Self::spawn(&all, Stdio::piped())
    }

    /// Starts one that outlives this process; whoever calls this has to end it.
    pub fn start_kept() -> Self {
        Self::spawn(&[], Stdio::null())
    }

    fn spawn(arguments: &[&str], stdin: Stdio) -> Self {
        let mut process = place::python()
            .args(["-m", "emulated_aws", "--port", "0"])
            .args(arguments)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .expect("`make venv` installs what the emulated AWS needs");
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().expect("a pipe");
        let ready = BufReader::new(stdout).lines().map_while(Result::ok).find_map(|line| {
            line.strip_prefix("emulated aws ready ").map(|url| url.trim().to_owned())
        });
        let endpoint = ready.expect("the emulated AWS starts");
        Self { endpoint, process, stdin }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Runs the scenario tool and returns what it prints.
    pub async fn scenario(&self, arguments: &[&str]) -> Value {
        let mut command = place::python();
        command.args(["-m", "emulated_aws.scenario", "--endpoint", &self.endpoint]).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined");
        let output = output.expect("python runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scenario {arguments:?} failed: {errors}");
        serde_json::from_slice(&output.stdout).expect("the scenario tool prints JSON")
    }

    /// Creates a service called `name` with blue tasks running `command`, its hook relayed to `gate_url`.
    pub async fn site(&self, name: &str, gate_url: &str, blue: &[&str], more: &[&str]) -> Site<'_> {
        let route = format!("GATE_URL={gate_url}");
        self.relayed_site(name, &route, blue, more).await
    }

    /// As [`EmulatedAws::site`], with its hook relayed by the way that this variable of the relay names.
    pub async fn relayed_site(
        &self,
        name: &str,
        route: &str,
        blue: &[&str],
        more: &[&str],
    ) -> Site<'_> {
        let bootstrap = format!("exec {} relay", place::binary("gate").display());
        let key = format!("EMULATED_ACCESS_KEY_ID={name}");
        let command = command_line(blue);
        let mut arguments = vec!["setup", "--name", name, "--command", &command];
        arguments.extend([
            "--bootstrap",
            &bootstrap,
            "--function-env",
            route,
            "--function-env",
            &key,
        ]);
        arguments.extend(more);
        let made = self.scenario(&arguments).await;
        Site { aws: self, name: name.to_owned(), made }
    }

    /// Creates a service that ECS itself deploys, `name`, with blue tasks running `command`: its first deployment
    /// has begun. Events about it go to a queue.
    pub async fn service(&self, name: &str, blue: &[&str], more: &[&str]) -> Service<'_> {
        let command = command_line(blue);
        let queue = format!("{name}-events");
        let mut arguments = vec!["setup-ecs", "--name", name, "--command", &command, "--no-wait"];
        arguments.extend(["--events-queue", &queue]);
        arguments.extend(more);
        let made = self.scenario(&arguments).await;
        let text = |key: &str| made[key].as_str().expect("a text").to_owned();
        let (queue, first) = (text("queue_url"), text("service_deployment_arn"));
        Service { aws: self, name: name.to_owned(), queue, first, made }
    }

    /// As [`EmulatedAws::service`], with hooks at `stages` that invoke the relay of this gate.
    pub async fn hooked_service(
        &self,
        name: &str,
        (gate_url, stages): (&str, &str),
        more: &[&str],
    ) -> Service<'_> {
        let route = format!("GATE_URL={gate_url}");
        self.relayed_service(name, (&route, stages), more).await
    }

    /// As [`EmulatedAws::hooked_service`], relayed by the way that this variable of the relay names.
    pub async fn relayed_service(
        &self,
        name: &str,
        (route, stages): (&str, &str),
        more: &[&str],
    ) -> Service<'_> {
        let bootstrap = format!("exec {} relay", place::binary("gate").display());
        let key = format!("EMULATED_ACCESS_KEY_ID={name}");
        let hooks = ["--lambda-hooks", stages, "--bootstrap", &bootstrap];
        let environment = ["--function-env", route, "--function-env", &key];
        self.service(name, &[], &[&hooks[..], &environment, more].concat()).await
    }

    /// Creates a function called `name` behind an alias, its hooks relayed to `gate_url`.
    pub async fn function(&self, name: &str, gate_url: &str, more: &[&str]) -> Function<'_> {
        let bootstrap = format!("exec {} relay", place::binary("gate").display());
        let url = format!("GATE_URL={gate_url}");
        let key = format!("EMULATED_ACCESS_KEY_ID={name}");
        let program = function_line();
        let arguments = ["setup-function", "--name", name, "--bootstrap", &program];
        let hook = ["--hook-bootstrap", &bootstrap, "--hook-env", &url, "--hook-env", &key];
        let made = self.scenario(&[&arguments[..], &hook, more].concat()).await;
        Function { aws: self, name: name.to_owned(), made }
    }

    /// Waits until a service deployment is over.
    pub async fn service_deployed(&self, arn: &str, limit: Duration) -> Value {
        let over = ["SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"];
        let look = async || self.service_deployment(arn).await;
        let found = eventually(limit, async || {
            let seen = look().await;
            over.contains(&seen["status"].as_str().unwrap_or_default()).then_some(seen)
        });
        match found.await {
            Some(found) => found,
            None => panic!("{arn} is not over after {limit:?}: {:#}", look().await),
        }
    }

    /// Makes one call as a person would, and returns its answer.
    pub async fn call(&self, service: &str, operation: &str, parameters: Value) -> Value {
        const CALL: &str = "
import botocore.session, json, sys
endpoint, service, operation, parameters = sys.argv[1:]
client = botocore.session.get_session().create_client(
    service, region_name='us-east-1', endpoint_url=endpoint,
    aws_access_key_id='person', aws_secret_access_key='emulated')
print(json.dumps(client._make_api_call(operation, json.loads(parameters)), default=str))
";
        let parameters = parameters.to_string();
        let mut command = place::python();
        command.args(["-c", CALL, &self.endpoint, service, operation, &parameters]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined");
        let output = output.expect("python runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{service} {operation} failed: {errors}");
        serde_json::from_slice(&output.stdout).expect("an answer in JSON")
    }

    /// Asks the control API for something; see tests/aws/README.md.
    pub async fn control(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/_emulated/{path}", self.endpoint);
        let answer = http::post(&url, body).await.expect("the control API answers");
        assert!(answer.status < 300, "{path}: {}", answer.text);
        answer.json()
    }

    /// Injects a fault and returns its id; see tests/aws/README.md for the keys.
    pub async fn fault(&self, fault: Value) -> String {
        let made = self.control("faults", &fault).await;
        made["id"].as_str().expect("an id").to_owned()
    }

    /// Takes a fault away.
    pub async fn heal(&self, fault: &str) {
        let url = format!("{}/_emulated/faults/{fault}", self.endpoint);
        let answer = http::send("DELETE", &url, &[], "").await.expect("the control API answers");
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// What the processes of a function have written so far.
    pub async fn function_logged(&self, name: &str) -> String {
        let url = format!("{}/_emulated/functions", self.endpoint);
        let answer = http::get(&url).await.expect("the control API answers").json();
        let functions = answer["functions"].as_array().expect("a list");
        let found = functions.iter().find(|function| function["name"] == name).expect("it exists");
        let files = found["logs"].as_array().expect("a list").iter();
        let read = |file: &Value| std::fs::read(file.as_str().expect("a path")).expect("a log");
        files.map(|file| String::from_utf8_lossy(&read(file)).into_owned()).collect()
    }

    /// Running tasks of a service.
    pub async fn tasks(&self, service: &str) -> Vec<Value> {
        let url = format!("{}/_emulated/tasks", self.endpoint);
        let answer = http::get(&url).await.expect("the control API answers").json();
        let tasks = answer["tasks"].as_array().expect("a list");
        tasks.iter().filter(|task| task["service"] == service).cloned().collect()
    }

    /// Makes a queue; its URL.
    pub async fn queue(&self, name: &str) -> String {
        let made = self.call("sqs", "CreateQueue", json!({ "QueueName": name })).await;
        made["QueueUrl"].as_str().expect("a URL").to_owned()
    }

    /// How many messages of a queue can be received, and how many somebody holds.
    pub async fn depth(&self, queue: &str) -> (u64, u64) {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let asked = json!({ "QueueUrl": queue, "AttributeNames": names });
        let found = self.call("sqs", "GetQueueAttributes", asked).await;
        let [waiting, held] = names.map(|name| {
            let text = found["Attributes"][name].as_str().expect("a number");
            text.parse().expect("a number")
        });
        (waiting, held)
    }

    /// Puts a message on a queue.
    pub async fn send(&self, queue: &str, body: &Value) {
        let parameters = json!({ "QueueUrl": queue, "MessageBody": body.to_string() });
        self.call("sqs", "SendMessage", parameters).await;
    }

    /// Everything the emulator knows of a deployment.
    pub async fn deployment(&self, id: &str) -> Value {
        let url = format!("{}/_emulated/deployments/{id}", self.endpoint);
        http::get(&url).await.expect("the control API answers").json()
    }

    /// Everything the emulator knows of a service deployment.
    pub async fn service_deployment(&self, arn: &str) -> Value {
        let id = arn.rsplit('/').next().unwrap_or(arn);
        let url = format!("{}/_emulated/service-deployments/{id}", self.endpoint);
        http::get(&url).await.expect("the control API answers").json()
    }

    /// Calls seen, newest last, by operation and access key.
    pub async fn requests(&self, operation: &str, access_key: &str) -> Vec<Value> {
        self.seen(&format!("operation={operation}&access_key={access_key}")).await
    }

    /// All calls seen of an access key, newest last.
    pub async fn all_requests(&self, access_key: &str) -> Vec<Value> {
        self.seen(&format!("access_key={access_key}")).await
    }

    async fn seen(&self, query: &str) -> Vec<Value> {
        let url = format!("{}/_emulated/requests?{query}", self.endpoint);
        let answer = http::get(&url).await.expect("the control API answers").json();
        answer["requests"].as_array().expect("a list").clone()
    }

    /// What this access key has called, each once.
    pub async fn operations(&self, access_key: &str) -> BTreeSet<String> {
        let requests = self.all_requests(access_key).await;
        let name = |request: &Value| request["operation"].as_str().expect("a name").to_owned();
        requests.iter().map(name).collect()
    }

    /// Waits until the deployment has one of these statuses; fails with its whole state otherwise.
    pub async fn until(&self, id: &str, statuses: &[&str], limit: Duration) -> Value {
        let found = eventually(limit, async || {
            let seen = self.deployment(id).await;
            statuses.contains(&seen["status"].as_str().unwrap_or_default()).then_some(seen)
        });
        match found.await {
            Some(found) => found,
            None => {
                panic!("{id} is not {statuses:?} after {limit:?}: {:#}", self.deployment(id).await)
            }
        }
    }
}

/// How long a service may take to be deleted.
const DELETED_WITHIN: Duration = Duration::from_secs(10);

/// Deletes a service with its tasks: a hundred tests leave no processes to the others, nor run out of addresses.
/// What becomes of it is nobody's concern any more.
fn delete_service(endpoint: &str, name: &str) {
    let address = endpoint.trim_start_matches("http://");
    let request = format!(
        "DELETE /_emulated/services/{name}-cluster/{name}-service HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    );
    let Ok(mut connection) = TcpStream::connect(address) else { return };
    let patience = connection.set_read_timeout(Some(DELETED_WITHIN));
    if patience.is_ok() && connection.write_all(request.as_bytes()).is_ok() {
        drop(connection.read_to_end(&mut Vec::new()));
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        delete_service(&self.aws.endpoint, &self.name);
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        delete_service(&self.aws.endpoint, &self.name);
    }
}

impl Drop for EmulatedAws {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.process.wait());
    }
}

/// A service in the emulated AWS with a CodeDeploy application around it.
#[derive(Debug)]
pub struct Site<'a> {
    aws: &'a EmulatedAws,
    /// Its name, also the application's.
    pub name: String,
    /// What the scenario tool made.
    pub made: Value,
}

impl Site<'_> {
    /// Deploys tasks running `command` as green; returns the deployment's id.
    pub async fn deploy(&self, green: &[&str]) -> String {
        self.deploy_with_hooks(green, "AfterAllowTestTraffic").await
    }

    /// As [`Site::deploy`], with these hooks.
    pub async fn deploy_with_hooks(&self, green: &[&str], hooks: &str) -> String {
        let command = command_line(green);
        let arguments = ["deploy", "--name", &self.name, "--command", &command, "--hooks", hooks];
        let made = self.aws.scenario(&arguments).await;
        made["deployment_id"].as_str().expect("an id").to_owned()
    }
}

/// A service in the emulated AWS that ECS deploys by itself.
#[derive(Debug)]
pub struct Service<'a> {
    aws: &'a EmulatedAws,
    /// Its name.
    pub name: String,
    /// URL of the queue that hears of its hooks.
    pub queue: String,
    /// ARN of its first deployment.
    pub first: String,
    /// What the scenario tool made.
    pub made: Value,
}

impl Service<'_> {
    /// Deploys tasks running `command` as green; returns the service deployment's ARN.
    pub async fn deploy(&self, green: &[&str]) -> String {
        let command = command_line(green);
        let arguments = ["deploy-ecs", "--name", &self.name, "--command", &command];
        let made = self.aws.scenario(&arguments).await;
        made["service_deployment_arn"].as_str().expect("an ARN").to_owned()
    }

    /// `cluster` and `service`, as settings name them.
    pub fn polled(&self) -> String {
        let text = |key: &str| self.made[key].as_str().expect("a text");
        format!("{{ cluster: {}, service: {} }}", text("cluster"), text("service"))
    }
}

/// A Lambda function in the emulated AWS with a CodeDeploy application around it.
#[derive(Debug)]
pub struct Function<'a> {
    aws: &'a EmulatedAws,
    /// Its name, also the application's.
    pub name: String,
    /// What the scenario tool made.
    pub made: Value,
}

impl Function<'_> {
    /// Publishes a version with this environment and deploys it; returns the deployment's id.
    pub async fn deploy(&self, environment: &[&str], more: &[&str]) -> String {
        let mut arguments = vec!["deploy-function", "--name", &self.name];
        for pair in environment {
            arguments.extend(["--env", pair]);
        }
        arguments.extend(more);
        let made = self.aws.scenario(&arguments).await;
        made["deployment_id"].as_str().expect("an id").to_owned()
    }
}

/// The bootstrap of a function: our sample in Python.
fn function_line() -> String {
    let root = place::root();
    let program = root.join("tests/aws/selftest/programs/function.py");
    format!("exec {} -S -E {}", root.join(".venv/bin/python").display(), program.display())
}

/// The command of a task: our sample service with these faults.
fn command_line(arguments: &[&str]) -> String {
    let service = place::binary("service").display().to_string();
    let words = std::iter::once(service.as_str()).chain(arguments.iter().copied());
    json!(words.collect::<Vec<_>>()).to_string()
}
