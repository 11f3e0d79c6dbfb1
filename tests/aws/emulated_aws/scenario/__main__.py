"""`python -m emulated_aws.scenario`: what demos and end-to-end tests call; one JSON object on standard output."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from . import pipeline
from .clients import REGION, Clients
from .deploy import DEFAULT_HOOKS, deploy, status, wait
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
    make.add_argument("--access-key", default=argparse.SUPPRESS)

    send = verbs.add_parser("deploy", help="register a revision and create a deployment")
    send.add_argument("--name", required=True)
    send.add_argument("--command", type=_argv, required=True)
    send.add_argument("--env", nargs="*", default=[], action="extend", metavar="K=V")
    send.add_argument("--hooks", default=",".join(DEFAULT_HOOKS), help="comma-separated lifecycle events")
    send.add_argument("--deployment-config")

    end = verbs.add_parser("teardown", help="take away what setup made")
    end.add_argument("--name", required=True)

    for verb in ("wait", "status"):
        look = verbs.add_parser(verb)
        look.add_argument("--deployment", required=True)
        if verb == "wait":
            look.add_argument("--timeout", type=float, default=300)
    pipeline.add_verbs(verbs)
    return parser.parse_args()


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
            termination_wait_minutes=arguments.termination_wait_minutes,
        ))  # fmt: skip
    if arguments.verb == "deploy":
        hooks = tuple(hook for hook in arguments.hooks.split(",") if hook)
        made = deploy(
            clients, arguments.name, arguments.command, _pairs(arguments.env), hooks, arguments.deployment_config
        )
        return {"deployment_id": made}
    if arguments.verb == "teardown":
        teardown(clients, arguments.name)
        return {"removed": arguments.name}
    if arguments.verb == "wait":
        return wait(clients, arguments.deployment, arguments.timeout)
    return status(clients, arguments.deployment)


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
