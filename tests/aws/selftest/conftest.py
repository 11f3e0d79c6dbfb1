"""Starts the emulator as its users do, as a process, and gives tests clients, the control API and ready services."""

import json
import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import botocore.session
import pytest
from botocore.config import Config

from emulated_aws.scenario.clients import Clients
from emulated_aws.scenario.deploy import deploy, wait
from emulated_aws.scenario.functions import teardown_lambda
from emulated_aws.scenario.setup import Wanted, bootstrap_zip, setup, teardown
from releases import HOOK, PROGRAMS, Fn, Release

HOOK_LIMIT = 2.0
SERVICE = [sys.executable, "-S", str(PROGRAMS / "service.py")]


def eventually(check, seconds=10.0, what="condition"):
    """The check's first true value; it is asked until then."""
    limit = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < limit, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


class Emulator:
    """One emulator process."""

    def __init__(self, directory, *arguments):
        self._made = {}  # clients by how they were asked for: loading a service model takes long
        self._session = botocore.session.Session()
        ready, self._said = directory / "ready", directory / "stderr"
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "emulated_aws", "--port", "0", "--ready-file", str(ready),
                 "--log-dir", str(directory), "--exit-with-stdin", *arguments],
                env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
            )  # fmt: skip
        self.ready_line = self.process.stdout.readline().strip()
        self.url = self.ready_line.rpartition(" ")[2]
        assert self.url.startswith("http://127.0.0.1:"), (self.ready_line, self.said())

    def said(self):
        """What it wrote on standard error so far."""
        return self._said.read_text()

    def control(self, path, method="GET", body=None):
        """(status, JSON) of the control API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_emulated/{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def deployment(self, deployment_id):
        """The machine's whole state."""
        return self.control(f"deployments/{deployment_id}")[1]

    def clients(self, access_key="pipeline", secret="emulated"):
        """Ordinary clients."""
        key = (access_key, secret)
        if key not in self._made:
            self._made[key] = Clients(self.url, access_key, secret, session=self._session)
        return self._made[key]

    def loose(self, service, access_key="loose", secret="emulated"):
        """A client that sends what it is told, without retries."""
        key = (service, access_key, secret)
        if key not in self._made:
            self._made[key] = self._session.create_client(
                service, endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=access_key,
                aws_secret_access_key=secret,
                config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
            )  # fmt: skip
        return self._made[key]

    def stop(self):
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=15)


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    """The emulator most tests share: fast, with short hook limits."""
    emulator = Emulator(
        tmp_path_factory.mktemp("aws"), "--time-scale", "30", "--hook-limit-seconds", str(HOOK_LIMIT),
        "--metric-period-seconds", "1",
    )  # fmt: skip
    yield emulator
    assert emulator.stop() == 0
    assert " ERROR " not in emulator.said()


class Stack:
    """One blue/green service in an emulator."""

    def __init__(self, emulator, **wanted):
        self.aws = emulator
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.clients = emulator.clients()
        answer = wanted.pop("answer", "Succeeded")
        self.out = setup(self.clients, Wanted(
            name=self.name, command=wanted.pop("command", SERVICE), bootstrap=wanted.pop("bootstrap", HOOK),
            environment=wanted.pop("environment", {"NAME": "blue"}),
            function_environment={"HOOK_ANSWER": answer}, **wanted,
        ))  # fmt: skip

    def deploy(self, hooks=("AfterAllowTestTraffic",), name="green", config=None, command=SERVICE, **environment):
        """A new revision on its way."""
        return deploy(self.clients, self.name, command, {"NAME": name, **environment}, tuple(hooks), config)

    def wait(self, deployment_id, seconds=20):
        """The end, the rollback's too."""
        return wait(self.clients, deployment_id, seconds)

    def answer(self, answer):
        """How the hook behaves from now on."""
        self.clients.functions.update_function_configuration(
            FunctionName=self.out["function"], Environment={"Variables": {"HOOK_ANSWER": answer}}
        )

    def get(self, port="prod", path="/", timeout=5):
        """(status, body) through a listener."""
        url = f"http://{self.out['load_balancer_dns']}:{self.out[f'{port}_port']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def health(self, colour="blue"):
        """TargetHealth of every target."""
        found = self.clients.elbv2.describe_target_health(TargetGroupArn=self.out[f"{colour}_target_group"])
        return [one["TargetHealth"] for one in found["TargetHealthDescriptions"]]

    def hook(self, deployment_id):
        """The newest hook run, once there is one."""
        runs = eventually(lambda: self.aws.deployment(deployment_id)["hooks"], what="a hook run")
        return runs[-1]


@pytest.fixture
def new_stack(aws):
    """Services of the test's own making, taken away at its end."""
    made = []

    def make(**wanted):
        made.append(Stack(aws, **wanted))
        return made[-1]

    yield make
    for one in made:
        teardown(one.clients, one.name)


@pytest.fixture
def stack(new_stack):
    """A service whose hook answers Succeeded."""
    return new_stack()


@pytest.fixture
def new_native(aws):
    """Services under the ECS controller, taken away at the test's end."""
    from native import Native  # which needs this module

    made = []

    def make(**wanted):
        made.append(Native(aws, **wanted))
        return made[-1]

    yield make
    for one in made:
        one.remove()


@pytest.fixture
def new_function(aws):
    """Functions of the test's own making, taken away at its end."""
    made = []

    def make(**config):
        made.append(Fn(aws, **config))
        return made[-1]

    yield make
    for one in made:
        one.api.delete_function(FunctionName=one.name)


@pytest.fixture
def new_release(aws):
    """Functions with all that deploys them, taken away at the test's end."""
    made = []

    def make(**wanted):
        made.append(Release(aws, **wanted))
        return made[-1]

    yield make
    for one in made:
        teardown_lambda(one.clients, one.name)


@pytest.fixture
def release(new_release):
    """A function whose hook answers Succeeded."""
    return new_release()


@pytest.fixture
def pipe(aws):
    """Pipelines of the test's own making, taken away at its end."""
    from pipelines import Pipe  # which needs this module

    made = []

    def make(*actions, emulator=aws, **extra):
        made.append(Pipe(emulator, *actions, **extra))
        return made[-1]

    yield make
    for one in made:
        one.delete()


@pytest.fixture(scope="session")
def job_function(aws, tmp_path_factory):
    """(name, events so far) of a function that keeps its events."""
    name, events = f"job{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("job") / "events"
    clients = aws.clients()
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}]}
    clients.functions.create_function(
        FunctionName=name, Runtime="provided.al2023", Handler="h", Timeout=30,
        Role=clients.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"],
        Code={"ZipFile": bootstrap_zip(f"exec {shlex.quote(sys.executable)} {PROGRAMS / 'job.py'}")},
        Environment={"Variables": {"EVENTS": str(events)}},
    )  # fmt: skip
    read = lambda: [json.loads(line) for line in events.read_text().splitlines()] if events.exists() else []  # noqa: E731
    yield name, read
    clients.functions.delete_function(FunctionName=name)


@pytest.fixture
def cw(aws):
    """A CloudWatch client, and what a test set taken back at its end."""
    yield aws.clients().cloudwatch
    aws.control("metrics/delay", "POST", {"seconds": 0})
    aws.control("metrics/statuses", "POST", {"statuses": []})


@pytest.fixture
def namespace():
    """One nobody else has."""
    return f"test/{uuid.uuid4().hex[:8]}"
