"""The data plane of a network load balancer's listener: connections, forwarded to a target chosen for each."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

from .proxy import MAX_CONNECTIONS, Listener

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 10.0
_PIECE = 64 * 1024


class NetworkListener(Listener):
    """One bound port; kept and closed as an application load balancer's."""

    protocol = "TCP"

    async def open(self) -> None:
        """Binds; raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._accept, self.address, self.port, reuse_address=True)

    def forget(self, to: tuple[str, int]) -> None:
        """Nothing is kept open for later; connections in use outlive their target's registration, as on AWS."""

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if len(self._clients) >= MAX_CONNECTIONS or task is None:
            _reset(writer)
            return
        self._clients.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError):
            _reset(writer)
        except asyncio.CancelledError:
            pass  # close(): the server waits for nobody
        except Exception:
            log.exception("listener %s", self.arn)
        finally:
            self._clients.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        group = self.route.choose()
        target = group.next_target() if group else None
        if target is None:
            raise ConnectionResetError("no target")
        async with asyncio.timeout(_CONNECT_SECONDS):
            upstream_reader, upstream_writer = await asyncio.open_connection(target.address, target.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, upstream_writer))
                both.create_task(_copy(upstream_reader, writer))
        except* (OSError, TimeoutError):
            _reset(writer)
        finally:
            upstream_writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """The client sees a reset, not an end: with SO_LINGER at 0, closing says so."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until its end; the other may go on."""
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
