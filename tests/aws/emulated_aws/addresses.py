"""Loopback addresses for load balancers and tasks: two /24 of 127.0.0.0/8 per emulator, so that several can run."""

from __future__ import annotations

import collections
import os
import socket

_LOCK_PORT = 47613  # holding 127.0.N.254 on this port means holding both of N's /24; the kernel frees it when we die
_TASKS = 0  # 127.0.N.0/24
_BALANCERS = 1  # 127.1.N.0/24
_HOSTS = range(1, 251)


class NoAddress(Exception):
    """Every address of the emulator's range is taken."""


class Addresses:
    """Hands out addresses that nobody alive uses, the longest unused first."""

    def __init__(self) -> None:
        self._lock, self._third = _take_range()
        self._balancers = collections.deque(self._names(_BALANCERS))
        self._tasks = collections.deque(self._names(_TASKS))

    def _names(self, second: int) -> list[str]:
        return [f"127.{second}.{self._third}.{host}" for host in _HOSTS]

    def balancer(self) -> str:
        """An address for a load balancer."""
        return self._take(self._balancers)

    def task(self) -> str:
        """An address for a task."""
        return self._take(self._tasks)

    def release(self, address: str) -> None:
        """Only when nothing listens there any more."""
        of_balancers = address.startswith(f"127.{_BALANCERS}.")
        (self._balancers if of_balancers else self._tasks).append(address)

    @staticmethod
    def _take(pool: collections.deque[str]) -> str:
        try:
            return pool.popleft()
        except IndexError:
            raise NoAddress("no loopback address is left in this emulator's range") from None

    def close(self) -> None:
        """Gives the range back."""
        self._lock.close()


def _take_range() -> tuple[socket.socket, int]:
    start = os.getpid() % 199
    for step in range(199):
        third = 1 + (start + step) % 199
        lock = socket.socket()
        try:
            lock.bind((f"127.0.{third}.254", _LOCK_PORT))
            lock.listen(1)
            return lock, third
        except OSError:
            lock.close()
    raise NoAddress("199 emulators run on this machine already")
