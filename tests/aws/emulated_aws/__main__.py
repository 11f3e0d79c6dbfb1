"""`python -m emulated_aws`: the emulated AWS as a process that says when it is ready and leaves nothing behind."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from .addresses import NoAddress
from .emulator import Emulator
from .errors import AwsError
from .settings import DEFAULT_SECRET_KEY, DEFAULT_TIME_SCALE, Settings


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="emulated_aws", description=__doc__)
    parser.add_argument("--port", type=int, default=4566, help="0 takes any free port (default 4566)")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default 127.0.0.1)")
    parser.add_argument("--secret-key", default=DEFAULT_SECRET_KEY, help="the one secret every access key signs with")
    parser.add_argument(
        "--time-scale", type=float, default=DEFAULT_TIME_SCALE,
        help=f"AWS seconds per real second (default {DEFAULT_TIME_SCALE:g})",
    )  # fmt: skip
    parser.add_argument("--hook-limit-seconds", type=float, help="real seconds a hook has; default 3600 scaled")
    parser.add_argument("--no-rollback-hooks", action="store_true", help="rollback deployments ask no hooks")
    parser.add_argument(
        "--flat-hook-payload", action="store_true", help="hook functions of ECS get the flat payload of older guides"
    )  # fmt: skip
    parser.add_argument(
        "--metric-period-seconds", type=int, default=60, help="how often load balancers publish metrics (default 60)"
    )  # fmt: skip
    parser.add_argument("--ready-file", type=Path, help="gets the ready line once everything is up")
    parser.add_argument("--log-dir", type=Path, help="default: a temporary directory, removed at the end")
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when standard input does")
    return parser.parse_args()


def main() -> int:
    """Returns the exit code."""
    arguments = _arguments()
    temporary = None
    if arguments.log_dir is None:
        temporary = tempfile.mkdtemp(prefix="emulated-aws-")
    log_dir = Path(temporary or arguments.log_dir).resolve()
    log_dir.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        settings = Settings(
            log_dir, arguments.host, arguments.port, arguments.secret_key, arguments.time_scale,
            arguments.hook_limit_seconds, not arguments.no_rollback_hooks, arguments.flat_hook_payload,
            arguments.metric_period_seconds,
        )  # fmt: skip
        asyncio.run(_run(settings, arguments))
    except (ValueError, OSError, RuntimeError, AwsError, NoAddress) as error:
        print(f"emulated_aws: {error}", file=sys.stderr)
        return 1
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    return 0


async def _run(settings: Settings, arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, done.set)
    if arguments.exit_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _watch_input, loop, done)
    emulator = Emulator(settings)
    try:
        starting = asyncio.create_task(emulator.start())
        ending = asyncio.create_task(done.wait())
        await asyncio.wait([starting, ending], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            line = f"emulated aws ready {starting.result()}"
            if arguments.ready_file:
                # written beside and moved, so that a reader never sees half of it
                half = arguments.ready_file.with_name(arguments.ready_file.name + ".half")
                half.write_text(line + "\n")
                half.replace(arguments.ready_file)
            print(line, flush=True)
            await ending
        else:
            starting.cancel()
    finally:
        await emulator.close()


def _watch_input(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        done.set()


if __name__ == "__main__":
    sys.exit(main())
