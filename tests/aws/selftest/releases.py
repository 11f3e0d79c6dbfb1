"""Functions for tests: one alone, and one behind an alias with all that deploys it."""

import base64
import json
import shlex
import sys
import uuid
from pathlib import Path

from emulated_aws.scenario.deploy import wait
from emulated_aws.scenario.functions import WantedFunction, deploy_lambda, setup_lambda
from emulated_aws.scenario.setup import bootstrap_zip, role

PROGRAMS = Path(__file__).parent / "programs"
HOOK = f"exec {shlex.quote(sys.executable)} -S -E {shlex.quote(str(PROGRAMS / 'hook.py'))}"
FUNCTION = f"exec {shlex.quote(sys.executable)} -S -E {shlex.quote(str(PROGRAMS / 'function.py'))}"


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
