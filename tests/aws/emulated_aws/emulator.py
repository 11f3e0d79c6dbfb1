"""Puts the parts together, starts them in order and takes them down again."""

from __future__ import annotations

import logging

from aiohttp import web

from .addresses import Addresses
from .clocks import Clocks
from .cloudwatch.alarms import Alarms
from .cloudwatch.control import CloudWatchControl
from .cloudwatch.metrics import Metrics
from .cloudwatch.store import Store
from .codedeploy.deployments import Deployments
from .codedeploy.groups import Groups
from .codepipeline.api import CodePipeline
from .control import Control, no_browsers
from .dispatch import Dispatch
from .ecs.api import Ecs
from .elb.api import Elb
from .faults import Faults
from .front import Front
from .functions.api import Lambda
from .journal import Journal
from .moto import Moto
from .processes import Processes
from .settings import Settings
from .sqs.api import Sqs
from .sts.api import Sts
from .sts.sessions import Sessions
from .wire.requests import MAX_BODY

log = logging.getLogger(__name__)


class Emulator:
    """One emulated AWS."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._processes = Processes(settings.log_dir)
        self._addresses = Addresses()
        journal, faults, clocks = Journal(), Faults(), Clocks()
        self._moto = Moto(self._processes)
        dispatch = Dispatch(self._moto, journal)
        metrics, alarms = Store(), Alarms(dispatch)
        Metrics(dispatch, metrics)
        self._elb = Elb(settings, dispatch, self._addresses, metrics)
        self._ecs = Ecs(settings, dispatch, self._processes, self._addresses, self._elb)
        self._lambda = Lambda(settings, dispatch, self._processes)
        self._deployments = Deployments(settings, dispatch, Groups(dispatch))
        self._moto.on_answer = Sqs(dispatch).stir
        sessions = Sessions()
        sts = Sts(settings, dispatch, sessions)
        self._pipelines = CodePipeline(settings, dispatch, sessions)
        front = Front(settings, dispatch, self._moto, faults, journal, sessions, clocks)
        application = web.Application(client_max_size=MAX_BODY, middlewares=[no_browsers])
        application.add_routes(CloudWatchControl(metrics, alarms).routes() + sts.routes())
        application.add_routes(self._elb.targets.instances.routes() + clocks.routes())
        application.add_routes(Control(dispatch, faults, journal, self._deployments, self._ecs, self._lambda).routes())
        application.router.add_route("*", "/{path:.*}", front.handle)
        # what is signed is the body as it was sent, compressed or not
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, auto_decompress=False)

    async def start(self) -> str:
        """Everything up; the URL to use as AWS_ENDPOINT_URL."""
        self._processes.start()
        await self._moto.start()
        await self._ecs.start()
        self._elb.traffic.start()
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        await site.start()
        port = self._runner.addresses[0][1]
        url = f"http://{self._settings.host}:{port}"
        await self._lambda.start(url)
        return url

    async def close(self) -> None:
        """Takes everything down; each part even when another one fails to."""
        for part in (
            self._deployments, self._pipelines, self._runner, self._ecs, self._elb, self._lambda, self._moto,
            self._processes,
        ):  # fmt: skip
            try:
                await (part.cleanup() if part is self._runner else part.close())
            except Exception:
                log.exception("closing %s", type(part).__name__)
        self._addresses.close()
