"""One service under the ECS controller, and what tests ask of it."""

import json
import uuid

from conftest import HOOK, SERVICE, Stack, eventually
from emulated_aws.scenario.ecs import WantedEcs, deploy_ecs, setup_ecs, teardown_ecs, wait_ecs

PAUSABLE = (
    "PRE_SCALE_UP", "POST_SCALE_UP", "POST_TEST_TRAFFIC_SHIFT", "PRE_PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
)  # fmt: skip


class Native(Stack):
    """Made by the scenario; the first deployment is over unless it was not to be waited for."""

    def __init__(self, emulator, **wanted):
        self.aws = emulator
        self.name = f"n{uuid.uuid4().hex[:8]}"
        self.clients = emulator.clients()
        self.ecs = self.clients.ecs
        if "lambda_hooks" in wanted:
            wanted.setdefault("bootstrap", HOOK)
        if "answer" in wanted:
            wanted["function_environment"] = {"HOOK_ANSWER": wanted.pop("answer")}
        wanted.setdefault("environment", {"NAME": "blue"})
        wanted.setdefault("count", 1)
        self.out = setup_ecs(self.clients, WantedEcs(name=self.name, command=SERVICE, **wanted))
        self.where = {"cluster": self.out["cluster"], "service": self.out["service"]}

    def remove(self):
        teardown_ecs(self.clients, self.name)

    def deploy(self, name="green", changes=None, **environment):
        """A new revision on its way; the ARN of its deployment."""
        made = deploy_ecs(self.clients, self.name, SERVICE, {"NAME": name, **environment}, **(changes or {}))
        return made["service_deployment_arn"]

    def wait(self, arn, seconds=20):
        return wait_ecs(self.clients, arn, seconds)

    def describe(self, arn):
        """ServiceDeployment, as the API has it."""
        found = self.ecs.describe_service_deployments(serviceDeploymentArns=[arn])
        assert not found["failures"]
        return found["serviceDeployments"][0]

    def machine(self, arn):
        """The same as the control API has it."""
        return self.aws.control(f"service-deployments/{arn.rpartition('/')[2]}")[1]

    def stages(self, arn):
        return [one["stage"] for one in self.machine(arn)["stages"]]

    def revision(self, arn):
        return self.ecs.describe_service_revisions(serviceRevisionArns=[arn])["serviceRevisions"][0]

    def paused(self, arn, stage=None):
        """The hook that awaits an answer, once there is one."""

        def look():
            shown = self.describe(arn)
            hooks = [one for one in shown["lifecycleHookDetails"] if one["status"] == "AWAITING_ACTION"]
            return hooks[0] if hooks and stage in (None, shown["lifecycleStage"]) else None

        return eventually(look, what=f"a pause at {stage}")

    def go(self, arn, stage=None, action="CONTINUE"):
        """Answers a pause."""
        hook = self.paused(arn, stage)
        self.ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId=hook["hookId"], action=action)
        return hook["hookId"]

    def at(self, arn, stage, seconds=10):
        eventually(lambda: self.describe(arn).get("lifecycleStage") == stage, seconds, what=stage)

    def weights(self, listener="prod"):
        """Weights of the listener rule's two groups, blue's first."""
        (rule,) = self.clients.elbv2.describe_rules(RuleArns=[self.out[f"{listener}_rule"]])["Rules"]
        found = {one["TargetGroupArn"]: one["Weight"] for one in rule["Actions"][0]["ForwardConfig"]["TargetGroups"]}
        return found[self.out["blue_target_group"]], found[self.out["green_target_group"]]

    def shares(self, requests, listener="prod"):
        """How often each revision answered."""
        answers = [self.get(listener)[1] for _ in range(requests)]
        return {name: answers.count(name) for name in set(answers)}

    def answer(self, answer):
        self.clients.functions.update_function_configuration(
            FunctionName=self.out["function"], Environment={"Variables": {"HOOK_ANSWER": answer}}
        )

    def events(self, wanted, seconds=10):
        """Events of ECS from the queue until so many have come."""
        found = []

        def look():
            got = self.clients.sqs.receive_message(QueueUrl=self.out["queue_url"], MaxNumberOfMessages=10)
            for message in got.get("Messages", []):
                event = json.loads(message["Body"])
                if event["source"] == "aws.ecs":  # deployments of other tests may be heard ending
                    found.append(event)
                self.clients.sqs.delete_message(QueueUrl=self.out["queue_url"], ReceiptHandle=message["ReceiptHandle"])
            return len(found) >= wanted

        eventually(look, seconds, what=f"{wanted} events")
        return found
