"""HTTP as uvicorn speaks it, with bounds on what comes before a request is complete enough to be refused.

Invariants:
- A request's head (its first line and headers) has at most `HEAD_BYTES_MAX`, and is complete within
  `HEAD_SECONDS` of its first byte, the first of a connection within that of connecting; else it is closed.
  So it is when the rest of a body comes as slowly after the answer; before that, endpoints see to it.
- What a connection can make the server keep beside bodies, which endpoints bound, is a head and what one read
  of a socket brings; trailers after a body count as a head does.
- Beyond `CONNECTIONS_MAX` connections a new one is told to come back, before anything of it is read.
- An answer leaves in one write where it can.
- What never becomes a request is answered with a problem document too, and logged by its code alone.
"""

from __future__ import annotations

import asyncio
import logging
from random import getrandbits

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.problems import Problem

# Servers and proxies commonly take 8 to 64 KiB; the longest here is a Sync-Token of 20,000 characters.
HEAD_BYTES_MAX = 64 * 1024
# The slowest line carries a head in this time. An open connection between two requests may idle for longer.
HEAD_SECONDS = 10.0
# Four times the streams that may be open. A process may have as many files open; `scv serve` sees to that.
CONNECTIONS_MAX = 2_000

_log = logging.getLogger("scv.http")


class _OneWrite:
    """A transport that sends head and body of an answer together, where uvicorn writes them one by one.

    A write is held until the next, or until the event loop has nothing else to do in this round. That saves a
    call of the system and a packet with each answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held = b""
        self.is_closing, self.get_extra_info = transport.is_closing, transport.get_extra_info
        self.abort = transport.abort
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading

    def write(self, data: bytes) -> None:
        """Send this, with what is held."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data:
            self._held = data
            self._loop.call_soon(self._let_go)

    def close(self) -> None:
        """Send what is held, and end."""
        self._let_go()
        self._transport.close()

    def _let_go(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            if not self._transport.is_closing():
                self._transport.write(held)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    # Between two requests, or within a head.
    _at_head = True
    # Whether what came last ended a request, and nothing of another came with it.
    _complete = False
    # Since the last request or the last piece of a body.
    _unread_bytes = 0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; its first head is due."""
        super().connection_made(_OneWrite(transport, self.loop))  # type: ignore[arg-type]
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse(Problem("too_many_connections", "the server has as many as it can serve"))
        else:
            self._expect_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._has_come()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes; the parser calls the methods below."""
        if self.transport.is_closing():
            return
        self._unread_bytes += len(data)
        self._complete = False
        super().data_received(data)
        if self._complete:
            return
        if self._unread_bytes > HEAD_BYTES_MAX:
            if self._at_head:
                self._refuse_head()
            else:
                # Trailers, or extensions of chunks; the request has or gets an answer of its own.
                self.transport.close()
        elif self._late is None and (self._at_head or not self._answering):
            # Part of a head, blank lines before one, or the rest of a body whose request was answered: these
            # keep no connection open for long.
            self._expect_more()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._complete = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is there."""
        self._at_head = False
        self._has_come()
        if self.transport.is_closing():
            return
        # Of several requests in one read it is too much; then what counts is this one's own length.
        if self._unread_bytes > HEAD_BYTES_MAX and self._length() > HEAD_BYTES_MAX:
            self._refuse_head()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._unread_bytes = 0
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is there; the next may follow in the same read."""
        self._at_head, self._complete, self._unread_bytes = True, True, 0
        self._has_come()
        if not self.transport.is_closing():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self._refuse(Problem("not_http", "send a request as RFC 9112 has it"))

    def _length(self) -> int:
        """Of the head that is complete; separators are a few bytes each."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _expect_more(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _has_come(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_slow(self) -> None:
        self._late = None
        if self._answering:
            # What was asked before is answered yet.
            self.cycle.keep_alive = False
            self.pipeline.clear()
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse_head(self) -> None:
        self._refuse(Problem("head_too_large", f"at most {HEAD_BYTES_MAX} bytes before the body"))

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, problem: Problem) -> None:
        """Answer without the application, and close."""
        self._has_come()
        if self.transport.is_closing():
            return
        if self._answering:
            # An answer cannot go into the midst of another.
            self.transport.abort()
            return
        request_id = f"{getrandbits(128):032x}"
        answer = problem.response(request_id)
        head = [
            *answer.raw_headers,
            (b"x-request-id", request_id.encode()),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        lines = [b"%s: %s\r\n" % one for one in head]
        self.transport.write(b"".join([STATUS_LINE[problem.status], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()
        _log.info("- - %d %s request %s", problem.status, problem.code, request_id)
