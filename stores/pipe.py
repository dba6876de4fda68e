"""Commands that share one round trip, packed and read in C.

Guarantees:
- The connection is redis-py's own, with its timeouts and its errors; nothing is sent twice.
- Every answer is read before an error is raised: the first that the server gave.

The client's own pipeline does the same. It looks at each argument several times in Python, which for hundreds
of keys with some arguments each was a tenth of a worker's time.
"""

from __future__ import annotations

from typing import Any

import hiredis
import redis


class Pipe:
    """Collects commands of a client; `execute` sends them and gives their answers, in order."""

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._packed: list[bytes] = []

    def add(self, *command: Any) -> None:
        """One more command: its words as str, bytes or int, one an argument."""
        self._packed.append(hiredis.pack_command(command))

    def execute(self) -> list[Any]:
        """The answers. redis.RedisError: the first error among them, or what became of the connection."""
        count = len(self._packed)
        if not count:
            return []
        sent, self._packed = b"".join(self._packed), []
        connection: Any = self._pool.get_connection()
        try:
            connection.send_packed_command((sent,))
            answers, refused = [], None
            for _ in range(count):
                try:
                    answers.append(connection.read_response())
                except redis.ResponseError as error:
                    refused = refused or error
        except BaseException:
            # What is still to come would be taken for the answer to something else.
            connection.disconnect()
            raise
        finally:
            self._pool.release(connection)
        if refused is not None:
            raise refused
        return answers
