"""What the data plane counts, published as AWS/ApplicationELB metrics once a period is over.

By "CloudWatch metrics for your Application Load Balancer": nothing is reported for a period without traffic, and health
checks are not traffic.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import logging
import time
from collections.abc import Callable, Iterable

from ..cloudwatch.samples import spread
from ..cloudwatch.store import Key, Store
from ..errors import AwsError
from ..settings import Settings

log = logging.getLogger(__name__)

# by the kind in the load balancer's ARN; of network load balancers only the hosts are counted
_NAMESPACES = {"app": "AWS/ApplicationELB", "net": "AWS/NetworkELB"}

# (metric, load balancer, target group or none)
_What = tuple[str, str, str | None]


@dataclasses.dataclass(frozen=True)
class Hosts:
    """How a target group in use stands."""

    balancer: str
    group: str
    healthy: int
    unhealthy: int


class Traffic:
    """Counters of the periods not yet published."""

    def __init__(self, settings: Settings, store: Store, hosts: Callable[[], Iterable[Hosts]]) -> None:
        self._period = settings.metric_period_seconds
        self._store = store
        self._hosts = hosts
        self._periods: dict[int, dict[_What, collections.Counter[float]]] = {}
        self._publisher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Publishes from now on."""
        self._publisher = asyncio.create_task(self._publish())

    def close(self) -> None:
        """What is not published yet never will be."""
        if self._publisher:
            self._publisher.cancel()

    # === what the data plane says ===

    def request(self, balancer: str, group: str) -> None:
        """A target was chosen for a request."""
        self._count("RequestCount", balancer, group)

    def response(self, balancer: str, group: str, status: int, seconds: float) -> None:
        """A target answered; the time is from the request leaving us to the response's head."""
        self._count(f"HTTPCode_Target_{status // 100}XX_Count", balancer, group)
        # three digits are enough for a percentile, and keep the number of different values small
        self._count("TargetResponseTime", balancer, group, float(f"{seconds:.3g}"))

    def unreachable(self, balancer: str, group: str) -> None:
        """No connection to a target."""
        self._count("TargetConnectionErrorCount", balancer, group)

    def rejected(self, balancer: str, status: int) -> None:
        """The load balancer answered in a target's place: nobody can tell for which group."""
        self._add(f"HTTPCode_ELB_{status // 100}XX_Count", balancer, None, 1.0)

    def _count(self, metric: str, balancer: str, group: str, value: float = 1.0) -> None:
        self._add(metric, balancer, group, value)
        self._add(metric, balancer, None, value)

    def _add(self, metric: str, balancer: str, group: str | None, value: float) -> None:
        begun = int(time.time()) // self._period * self._period
        counters = self._periods.setdefault(begun, {})
        counters.setdefault((metric, balancer, group), collections.Counter())[value] += 1

    # === publishing ===

    async def _publish(self) -> None:
        while True:
            # computed before sleeping: a timer may ring a little early, which would be the old period still
            begun = (int(time.time()) // self._period + 1) * self._period
            await asyncio.sleep(begun - time.time())
            try:
                self._publish_before(begun)
            except AwsError as error:
                log.warning("metrics of load balancers: %s", error)

    def _publish_before(self, begun: int) -> None:
        for hosts in self._hosts():
            counters = self._periods.setdefault(begun - self._period, {})
            for metric, count in (("HealthyHostCount", hosts.healthy), ("UnHealthyHostCount", hosts.unhealthy)):
                counters[metric, hosts.balancer, hosts.group] = collections.Counter({float(count): 1})
        for period in [one for one in self._periods if one < begun]:
            for what, values in self._periods.pop(period).items():
                self._keep(period, what, values)

    def _keep(self, at: int, what: _What, values: collections.Counter[float]) -> None:
        metric, balancer, group = what
        suffix = balancer.partition("loadbalancer/")[2]
        dimensions = {"LoadBalancer": suffix}
        if group:
            dimensions["TargetGroup"] = group.rpartition(":")[2]
        key = Key.of(balancer.split(":")[3], _NAMESPACES[suffix.partition("/")[0]], metric, dimensions)
        unit = "Seconds" if metric == "TargetResponseTime" else "Count"
        pairs = ((value, float(count)) for value, count in values.items())
        self._store.add(key, spread(pairs, at, time.time(), self._period < 60, unit))
