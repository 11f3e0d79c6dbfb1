"""Starts the emulator as its users do, as a process, and gives tests clients, the control API and ready services."""

import base64
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
from emulated_aws.scenario.functions import WantedFunction, deploy_lambda, setup_lambda, teardown_lambda
from emulated_aws.scenario.setup import Wanted, bootstrap_zip, role, setup, teardown

HOOK_LIMIT = 2.0
PROGRAMS = Path(__file__).parent / "programs"
SERVICE = [sys.executable, "-S", str(PROGRAMS / "service.py")]
HOOK = f"exec {shlex.quote(sys.executable)} {shlex.quote(str(PROGRAMS / 'hook.py'))}"
FUNCTION = f"exec {shlex.quote(sys.executable)} -S -E {shlex.quote(str(PROGRAMS / 'function.py'))}"


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
        ready = directory / "ready"
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "emulated_aws", "--port", "0", "--ready-file", str(ready),
             "--log-dir", str(directory), "--exit-with-stdin", *arguments],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.ready_line = self.process.stdout.readline().strip()
        self.url = self.ready_line.rpartition(" ")[2]
        assert self.url.startswith("http://127.0.0.1:"), self.ready_line

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
    emulator = Emulator(tmp_path_factory.mktemp("aws"), "--time-scale", "30", "--hook-limit-seconds", str(HOOK_LIMIT))
    yield emulator
    assert emulator.stop() == 0


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

    def deploy(self, hooks=("AfterAllowTestTraffic",), name="green", config=None, **environment):
        """A new revision on its way."""
        return deploy(self.clients, self.name, SERVICE, {"NAME": name, **environment}, tuple(hooks), config)

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


class Fn:
    """One function of its own, without anything around it."""

    def __init__(self, emulator, bootstrap=FUNCTION, **config):
        self.aws = emulator
        self.name = f"f{uuid.uuid4().hex[:8]}"
        self.clients = emulator.clients()
        self.api = self.clients.functions
        self.role = role(self.clients, f"{self.name}-role", "lambda.amazonaws.com")
        variables = config.pop("variables", {"NAME": "first"})
        self.api.create_function(
            FunctionName=self.name, Runtime="provided.al2023", Handler="bootstrap", Role=self.role,
            Code={"ZipFile": bootstrap_zip(bootstrap)}, Environment={"Variables": variables}, **config,
        )  # fmt: skip

    def configure(self, **changes):
        """Another $LATEST."""
        return self.api.update_function_configuration(FunctionName=self.name, **changes)

    def publish(self, name=None, **more):
        """A version, of another NAME when one is given; its number."""
        if name:
            self.configure(Environment={"Variables": {"NAME": name}})
        return self.api.publish_version(FunctionName=self.name, **more)["Version"]

    def invoke(self, qualifier=None, event=None, **extra):
        """(answer, body): the response's members and what the function said."""
        if qualifier:
            extra["Qualifier"] = qualifier
        answer = self.api.invoke(
            **{"FunctionName": self.name, "Payload": json.dumps(event or {}).encode(), **extra}
        )  # fmt: skip
        body = answer["Payload"].read()
        return answer, json.loads(body) if body else None

    def log(self, event=None, qualifier=None):
        """(answer, the log's lines)."""
        answer, _ = self.invoke(qualifier, event, LogType="Tail")
        return answer, base64.b64decode(answer["LogResult"]).decode()


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


class Release(Fn):
    """One function behind an alias, with an application to deploy it."""

    def __init__(self, emulator, answer="Succeeded", **wanted):
        self.aws = emulator
        self.name = f"r{uuid.uuid4().hex[:8]}"
        self.clients = emulator.clients()
        self.api = self.clients.functions
        self.codedeploy = self.clients.codedeploy
        self.out = setup_lambda(self.clients, WantedFunction(
            name=self.name, bootstrap=FUNCTION, environment={"NAME": "first"}, hook_bootstrap=HOOK,
            hook_environment={"HOOK_ANSWER": answer}, **wanted,
        ))  # fmt: skip

    def config(self, kind, percent):
        """A configuration of this test's own, with a step every AWS minute, which is two seconds here."""
        name = f"{self.name}-{kind}{percent}"
        self.codedeploy.create_deployment_config(
            deploymentConfigName=name, computePlatform="Lambda", trafficRoutingConfig={
                "type": f"TimeBased{kind.title()}",
                f"timeBased{kind.title()}": {f"{kind}Percentage": percent, f"{kind}Interval": 1},
            },
        )  # fmt: skip
        return name

    def deploy(self, hooks=(), config=None, name="second"):
        """The next version on its way; the deployment's id."""
        made = deploy_lambda(self.clients, self.name, None, {"NAME": name}, tuple(hooks), config)
        return made["deployment_id"]

    def create(self, appspec=None, hooks=(), **properties):
        """A deployment of an AppSpec by hand; its id."""
        spec = {"version": 0.0, "Resources": [{"f": {"Type": "AWS::Lambda::Function", "Properties": {
            "Name": self.name, "Alias": "live", "CurrentVersion": "1", "TargetVersion": "2"} | properties}}],
            "Hooks": list(hooks)}  # fmt: skip
        return self.codedeploy.create_deployment(
            applicationName=self.name, deploymentGroupName=f"{self.name}-group", revision={
                "revisionType": "AppSpecContent", "appSpecContent": {"content": appspec or json.dumps(spec)}},
        )["deploymentId"]  # fmt: skip

    def wait(self, deployment_id, seconds=20):
        """The end, the rollback's too."""
        return wait(self.clients, deployment_id, seconds)

    def answer(self, answer):
        """How the hook behaves from now on."""
        self.api.update_function_configuration(
            FunctionName=self.out["hook"], Environment={"Variables": {"HOOK_ANSWER": answer}}
        )

    def alias(self):
        """(version, weights) of the alias."""
        found = self.api.get_alias(FunctionName=self.name, Name="live")
        return found["FunctionVersion"], found.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})

    def info(self, deployment_id):
        """lambdaFunctionInfo of the one target."""
        (found,) = self.codedeploy.batch_get_deployment_targets(
            deploymentId=deployment_id, targetIds=[f"{self.name}:live"]
        )["deploymentTargets"]  # fmt: skip
        return found["lambdaTarget"]["lambdaFunctionInfo"]


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
