"""No process is ever left behind, however the emulator ends; and several emulators live side by side."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import PROGRAMS, Emulator, Stack, eventually


def processes_with(marker):
    """Pids whose environment holds the marker: environments are inherited, process groups can be left."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


ENDINGS = ("SIGTERM", "SIGKILL", "stdin")


@pytest.fixture(scope="module")
def emulators(tmp_path_factory):
    """One emulator and its directory for each ending, started at once as starting takes long."""
    directories = {ending: tmp_path_factory.mktemp(ending) for ending in ENDINGS}
    with ThreadPoolExecutor() as pool:
        started = dict(zip(ENDINGS, pool.map(Emulator, directories.values()), strict=True))
    yield {ending: (started[ending], directories[ending]) for ending in ENDINGS}
    for one in started.values():
        one.stop()


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_left_behind(emulators, ending):
    emulator, directory = emulators[ending]
    assert (directory / "ready").read_text().strip() == emulator.ready_line
    marker = f"MARK_{os.getpid()}_{ending}"
    # a shell between us and the service, and another service in the background: grandchildren
    service = f"{sys.executable} -S {PROGRAMS / 'service.py'}"
    stack = Stack(
        emulator, command=["/bin/sh", "-c", f"sleep 1000 & {service}; true"], environment={marker: "1"}, answer="silent"
    )
    stack.clients.functions.update_function_configuration(
        FunctionName=stack.out["function"], Environment={"Variables": {"HOOK_ANSWER": "silent", marker: "1"}}
    )
    stack.hook(stack.deploy())
    eventually(lambda: len(processes_with(marker)) >= 7)  # two tasks of three processes, and the function
    if ending == "stdin":
        emulator.process.stdin.close()
    else:
        emulator.process.send_signal(getattr(signal, ending))
    emulator.process.wait(timeout=15)
    eventually(lambda: not processes_with(marker), what="the end of every task and function")
    eventually(lambda: not processes_with(str(directory)), what="the end of moto and the guard")


def test_two_emulators_do_not_meet(aws, tmp_path):
    other = Emulator(tmp_path)
    try:
        one, two = Stack(aws, count=1), Stack(other, count=1, environment={"NAME": "other"})
        assert one.out["load_balancer_dns"] != two.out["load_balancer_dns"]
        assert (one.get()[1], two.get()[1]) == ("blue", "other")
    finally:
        assert other.stop() == 0


@pytest.mark.parametrize("arguments", [["--host", "0.0.0.0"], ["--time-scale", "0"], ["--hook-limit-seconds", "0"]])
def test_bad_settings_are_refused(tmp_path, arguments):
    ran = subprocess.run(
        [sys.executable, "-m", "emulated_aws", "--log-dir", str(tmp_path), *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert ran.returncode == 1 and "emulated_aws:" in ran.stderr and "Traceback" not in ran.stderr
