"""The ASGI server around the application.

Invariants:
- Paths, queries and headers of requests are logged nowhere: uvicorn's own access log is off.
- A server that is asked to end ends its streams at once, and gives other requests `GRACE_SECONDS`. Asked
  again, it cuts those off; what was accepted and audited is brought to the log all the same.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from api.protocol import BoundedProtocol
from api.services import Services

GRACE_SECONDS = 5
# A client that sends nothing on an open connection frees it after this.
IDLE_SECONDS = 75


class Server(uvicorn.Server):
    """Serves one application; calls `started` when it accepts requests."""

    def __init__(
        self, app: FastAPI, host: str, port: int, started: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                access_log=False,
                log_config=None,
                server_header=False,
                # Nothing is made of a client's address.
                proxy_headers=False,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
                http=BoundedProtocol,
                ws="none",
                lifespan="on",
            )
        )
        # `access_log=False` leaves it to the handlers that somebody else may have set up.
        logging.getLogger("uvicorn.access").disabled = True
        self._app, self._tell = app, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and say so."""
        await super().startup(sockets)
        if self.started:
            self._tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then as uvicorn does; the services, even when somebody was impatient."""
        services: Services = self._app.state.services
        services.changes.end()
        await super().shutdown(sockets)
        if self.force_exit:
            # Uvicorn leaves this out then; done twice, the second time has nothing to do.
            await self.lifespan.shutdown()
