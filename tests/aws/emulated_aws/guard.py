"""A watcher that outlives the emulator by a moment: when the emulator is gone, it kills every process group left.

Run as a script of its own. PR_SET_PDEATHSIG ends the children we started, but not what they started; their
process groups do not end by themselves when the emulator is killed with SIGKILL.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Reads `+PGID` and `-PGID` lines; at end of file kills what is still listed."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        sign, number = line[:1], line[1:].strip()
        if number.isdigit():
            groups.add(int(number)) if sign == "+" else groups.discard(int(number))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
