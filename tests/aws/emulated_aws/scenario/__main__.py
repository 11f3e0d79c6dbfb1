"""`python -m emulated_aws.scenario`: what demos and end-to-end tests call; one JSON object on standard output."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from . import pipeline
from .clients import REGION, Clients
from .deploy import DEFAULT_HOOKS, deploy, status, wait
from .ecs import WantedEcs, deploy_ecs, is_ecs, setup_ecs, status_ecs, teardown_ecs, wait_ecs
from .functions import WantedFunction, deploy_lambda, setup_lambda, teardown_lambda
from .setup import Wanted, setup, teardown


def _pairs(values: list[str]) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, equals, rest = value.partition("=")
        if not equals:
            raise ValueError(f"{value}: expected KEY=VALUE")
        pairs[key] = rest
    return pairs


def _argv(text: str) -> list[str]:
    try:
        value = json.loads(text)
    except ValueError:
        raise argparse.ArgumentTypeError('a JSON list of strings, such as ["/bin/service"]') from None
    if not isinstance(value, list) or not value or not all(isinstance(part, str) for part in value):
        raise argparse.ArgumentTypeError("a JSON list of strings")
    return value


def _names(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="emulated_aws.scenario", description=__doc__)
    parser.add_argument("--endpoint", default=os.environ.get("AWS_ENDPOINT_URL"), help="default: AWS_ENDPOINT_URL")
    parser.add_argument("--access-key", default="pipeline")
    parser.add_argument("--secret-key", default="emulated")
    parser.add_argument("--region", default=REGION)
    verbs = parser.add_subparsers(dest="verb", required=True)

    make = verbs.add_parser("setup", help="create a blue/green service and wait until blue is healthy")
    make.add_argument("--name", required=True)
    make.add_argument("--command", type=_argv, required=True)
    make.add_argument("--bootstrap", required=True, help="the one line of the hook function's shell bootstrap")
    make.add_argument("--count", type=int, default=2)
    make.add_argument("--port", type=int, default=8080)
    make.add_argument("--health-path", default="/healthz")
    make.add_argument("--env", nargs="*", default=[], action="extend", metavar="K=V")
    make.add_argument("--function-env", nargs="*", default=[], action="extend", metavar="K=V")
    make.add_argument("--function-timeout", type=int, default=60, help="real seconds")
    make.add_argument("--no-auto-rollback", action="store_true")
    make.add_argument("--deployment-config", default="CodeDeployDefault.ECSAllAtOnce")
    make.add_argument("--ready-wait-minutes", type=int, default=0)
    make.add_argument("--termination-wait-minutes", type=int, default=0)
    make.add_argument("--events-queue", metavar="NAME", help="a queue that hears of the application's deployments")
    make.add_argument("--access-key", default=argparse.SUPPRESS)

    send = verbs.add_parser("deploy", help="register a revision and create a deployment")
    send.add_argument("--name", required=True)
    send.add_argument("--command", type=_argv, required=True)
    send.add_argument("--env", nargs="*", default=[], action="extend", metavar="K=V")
    send.add_argument("--hooks", default=",".join(DEFAULT_HOOKS), help="comma-separated lifecycle events")
    send.add_argument("--deployment-config")

    _ecs_arguments(verbs)
    _function_arguments(verbs)

    end = verbs.add_parser("teardown", help="take away what setup, setup-ecs or setup-function made")
    end.add_argument("--name", required=True)

    for verb in ("wait", "status"):
        look = verbs.add_parser(verb)
        look.add_argument("--deployment", required=True, help="a deployment id, or a service deployment's ARN")
        if verb == "wait":
            look.add_argument("--timeout", type=float, default=300)
    pipeline.add_verbs(verbs)
    return parser.parse_args()


def _ecs_arguments(verbs: Any) -> None:
    make = verbs.add_parser("setup-ecs", help="create a service under the ECS controller and deploy it once")
    make.add_argument("--name", required=True)
    make.add_argument("--command", type=_argv, required=True)
    make.add_argument("--strategy", choices=("BLUE_GREEN", "CANARY", "LINEAR", "ROLLING"), default="BLUE_GREEN")
    make.add_argument("--count", type=int, default=2)
    make.add_argument("--port", type=int, default=8080)
    make.add_argument("--health-path", default="/healthz")
    make.add_argument("--env", nargs="*", default=[], action="extend", metavar="K=V")
    make.add_argument("--pause", type=_names, default=(), metavar="STAGE,...", help="stages with a PAUSE hook")
    make.add_argument("--pause-timeout-minutes", type=int, default=1440)
    make.add_argument("--pause-timeout-action", choices=("ROLLBACK", "CONTINUE"), default="ROLLBACK")
    make.add_argument("--lambda-hooks", type=_names, default=(), metavar="STAGE,...", help="stages with a function")
    make.add_argument("--bootstrap", default="", help="the one line of the hook function's shell bootstrap")
    make.add_argument("--function-env", nargs="*", default=[], action="extend", metavar="K=V")
    make.add_argument("--function-timeout", type=int, default=60, help="real seconds")
    make.add_argument("--hook-timeout-minutes", type=int, default=1440, help="of the function's hook")
    make.add_argument("--hook-details", type=json.loads, default={}, metavar="JSON")
    make.add_argument("--bake-minutes", type=int, default=0)
    make.add_argument("--canary-percent", type=float, default=10.0)
    make.add_argument("--canary-bake-minutes", type=int, default=1)
    make.add_argument("--step-percent", type=float, default=25.0)
    make.add_argument("--step-bake-minutes", type=int, default=1)
    make.add_argument("--events-queue", metavar="NAME", help="a queue that hears of hooks and CodeDeploy deployments")
    make.add_argument("--no-wait", action="store_true", help="return before the first deployment is over")
    make.add_argument("--timeout", type=float, default=60, help="seconds the first deployment is waited for")

    send = verbs.add_parser("deploy-ecs", help="register a revision and update the service with it")
    send.add_argument("--name", required=True)
    send.add_argument("--command", type=_argv, required=True)
    send.add_argument("--env", nargs="*", default=[], action="extend", metavar="K=V")


def _setup_ecs(clients: Clients, arguments: argparse.Namespace) -> dict[str, Any]:
    given = vars(arguments)
    same = {field.name for field in dataclasses.fields(WantedEcs)} & set(given)
    return setup_ecs(clients, WantedEcs(**{name: given[name] for name in same}, **{
        "environment": _pairs(arguments.env),
        "function_environment": _pairs(arguments.function_env),
        "wait": not arguments.no_wait,
    }))  # fmt: skip


def _function_arguments(verbs: Any) -> None:
    make = verbs.add_parser("setup-function", help="create a function, its version 1 behind the alias `live`")
    make.add_argument("--name", required=True)
    make.add_argument("--bootstrap", required=True, help="the one line of the function's shell bootstrap")
    make.add_argument("--env", nargs="*", default=[], action="extend", metavar="K=V")
    make.add_argument("--timeout", type=int, default=3, help="real seconds")
    make.add_argument("--log-format", choices=("Text", "JSON"), default="Text")
    make.add_argument("--hook-bootstrap", help="makes a hook function of this bootstrap")
    make.add_argument("--hook-env", nargs="*", default=[], action="extend", metavar="K=V")
    make.add_argument("--hook-timeout", type=int, default=60, help="real seconds")
    make.add_argument("--no-auto-rollback", action="store_true")
    make.add_argument("--deployment-config", default="CodeDeployDefault.LambdaAllAtOnce")
    make.add_argument("--events-queue", metavar="NAME", help="a queue that hears of the application's deployments")

    send = verbs.add_parser("deploy-function", help="publish the next version and create a deployment")
    send.add_argument("--name", required=True)
    send.add_argument("--bootstrap", help="default: the code stays")
    send.add_argument("--env", nargs="*", default=[], action="extend", metavar="K=V", help="default: it stays")
    send.add_argument("--hooks", default="", help="comma-separated lifecycle events; default: none")
    send.add_argument("--config")


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    if not arguments.endpoint:
        raise ValueError("--endpoint or AWS_ENDPOINT_URL is required")
    clients = Clients(arguments.endpoint, arguments.access_key, arguments.secret_key, arguments.region)
    if arguments.verb in pipeline.VERBS:
        return pipeline.run(clients, arguments)
    if arguments.verb == "setup":
        return setup(clients, Wanted(
            name=arguments.name, command=arguments.command, bootstrap=arguments.bootstrap, count=arguments.count,
            port=arguments.port, health_path=arguments.health_path, environment=_pairs(arguments.env),
            function_environment=_pairs(arguments.function_env), function_timeout=arguments.function_timeout,
            auto_rollback=not arguments.no_auto_rollback, deployment_config=arguments.deployment_config,
            ready_wait_minutes=arguments.ready_wait_minutes,
            termination_wait_minutes=arguments.termination_wait_minutes, events_queue=arguments.events_queue,
        ))  # fmt: skip
    if arguments.verb == "setup-ecs":
        return _setup_ecs(clients, arguments)
    if arguments.verb == "deploy-ecs":
        return deploy_ecs(clients, arguments.name, arguments.command, _pairs(arguments.env))
    if arguments.verb == "deploy":
        made = deploy(
            clients, arguments.name, arguments.command, _pairs(arguments.env), _names(arguments.hooks),
            arguments.deployment_config,
        )  # fmt: skip
        return {"deployment_id": made}
    if arguments.verb == "setup-function":
        return setup_lambda(clients, WantedFunction(
            name=arguments.name, bootstrap=arguments.bootstrap, environment=_pairs(arguments.env),
            timeout=arguments.timeout, log_format=arguments.log_format, hook_bootstrap=arguments.hook_bootstrap,
            hook_environment=_pairs(arguments.hook_env), hook_timeout=arguments.hook_timeout,
            auto_rollback=not arguments.no_auto_rollback, deployment_config=arguments.deployment_config,
            events_queue=arguments.events_queue,
        ))  # fmt: skip
    if arguments.verb == "deploy-function":
        return deploy_lambda(
            clients, arguments.name, arguments.bootstrap, _pairs(arguments.env), _names(arguments.hooks),
            arguments.config,
        )  # fmt: skip
    if arguments.verb == "teardown":
        _teardown(clients, arguments.name)
        return {"removed": arguments.name}
    native = ":service-deployment/" in arguments.deployment
    if arguments.verb == "wait":
        return (wait_ecs if native else wait)(clients, arguments.deployment, arguments.timeout)
    return (status_ecs if native else status)(clients, arguments.deployment)


def _teardown(clients: Clients, name: str) -> None:
    if is_ecs(clients, name):
        teardown_ecs(clients, name)
        return
    found = clients.codedeploy.get_application(applicationName=name)["application"]
    take_away = teardown_lambda if found["computePlatform"] == "Lambda" else teardown
    take_away(clients, name)


def main() -> int:
    """Returns the exit code: 1 for what AWS refused, 2 for what was asked wrongly, 3 for a time-out."""
    arguments = _arguments()
    try:
        print(json.dumps(_run(arguments)))
    except (ClientError, BotoCoreError) as error:
        print(f"scenario: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"scenario: {error}", file=sys.stderr)
        return 2
    except TimeoutError as error:
        print(f"scenario: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
