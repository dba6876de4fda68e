"""Commands that share one round trip, packed and read in C.

Guarantees:
- The connection is redis-py's own, with its timeouts and its errors; nothing is sent twice.
- Every answer is read before an error is raised: the first that the server gave.

The client's own pipeline does the same. It looks at each argument several times in Python, which for hundreds
of keys with some arguments each was a tenth of a worker's time.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import hiredis
import redis


class Pipe:
    """Collects commands of a client; `execute` sends them and gives their answers, in order.

    What `send` sends before goes to the same connection; then it is used in a `with` block.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._packed: list[bytes] = []
        self._connection: Any = None
        self._sent = 0

    def add(self, *command: Any) -> None:
        """One more command: its words as str, bytes or int, one an argument."""
        self._packed.append(hiredis.pack_command(command))

    def send(self) -> None:
        """Send what was added so far: the server works at it while the rest is made. redis.RedisError."""
        if not self._packed:
            return
        if self._connection is None:
            self._connection = self._pool.get_connection()
        self._sent += len(self._packed)
        sent, self._packed = b"".join(self._packed), []
        try:
            self._connection.send_packed_command((sent,))
        except BaseException:
            self._abandon()
            raise

    def execute(self) -> list[Any]:
        """The answers. redis.RedisError: the first error among them, or what became of the connection."""
        self.send()
        answers, refused = [], None
        try:
            for _ in range(self._sent):
                try:
                    answers.append(self._connection.read_response())
                except redis.ResponseError as error:
                    refused = refused or error
        except BaseException:
            self._abandon()
            raise
        self._release()
        if refused is not None:
            raise refused
        return answers

    def __enter__(self) -> Self:
        """This pipe."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Answers that nobody has read are lost with their connection."""
        self._abandon()

    def _abandon(self) -> None:
        """What is still to come would be taken for the answer to something else."""
        if self._connection is not None:
            self._connection.disconnect()
        self._release()

    def _release(self) -> None:
        connection, self._connection, self._sent = self._connection, None, 0
        if connection is not None:
            self._pool.release(connection)
