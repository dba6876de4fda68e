"""Append a batch of records as bytes: what the protocol allows and no producer library writes.

Guarantees:
- The batch arrives as it is given: names of headers that are no text, any codec, values of any size.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from typing import Self

from kafka.record.default_records import DefaultRecordBatchBuilder

# Bits of a batch's attributes.
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
# The builder closes a batch beyond this; ours may be as large as they like.
BATCH_BYTES_MAX = 2**31 - 1
PRODUCE, PRODUCE_VERSION, ALL_IN_SYNC, TIMEOUT_MS = 0, 7, -1, 30_000
# Unknown topic or partition, no leader, not the leader.
NOT_YET = (3, 5, 6)

Header = tuple[bytes, bytes | None]
RawRecord = tuple[bytes | None, bytes | None, Sequence[Header]]


class Name(str):
    """A header's name that is written as the bytes it was made from, text or not."""

    raw: bytes

    def __new__(cls, raw: bytes) -> Self:
        """The name of these bytes."""
        name = super().__new__(cls, raw.decode(errors="replace"))
        name.raw = raw
        return name

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """The bytes as given."""
        return self.raw


def append_batch(
    bootstrap: str,
    topic: str,
    partition: int,
    records: Sequence[RawRecord],
    codec: str,
    timestamp_ms: int = 0,
) -> None:
    """Append one batch of (key, value, headers), acknowledged on return; RuntimeError when it is refused."""
    builder = DefaultRecordBatchBuilder(2, CODECS[codec], False, -1, -1, -1, BATCH_BYTES_MAX)
    for offset, (key, value, headers) in enumerate(records):
        builder.append(offset, timestamp_ms, key, value, [(Name(name), content) for name, content in headers])
    batch = bytes(builder.build())
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while error := _append(bootstrap, topic, partition, batch):
        # A topic that was just created may have no leader yet.
        if error not in NOT_YET or time.monotonic() > deadline:
            raise RuntimeError(f"{bootstrap}: {topic}[{partition}]: a batch was refused with error {error}")
        time.sleep(0.05)


def _append(bootstrap: str, topic: str, partition: int, batch: bytes) -> int:
    """One try; the broker's error code, 0 for none."""
    body = struct.pack(">hhi", PRODUCE, PRODUCE_VERSION, 1) + _text(b"raw")
    body += struct.pack(">h", -1) + struct.pack(">hi", ALL_IN_SYNC, TIMEOUT_MS)  # no transaction
    body += struct.pack(">i", 1) + _text(topic.encode())
    body += struct.pack(">ii", 1, partition) + struct.pack(">i", len(batch)) + batch
    host, _, port = bootstrap.rpartition(":")
    with socket.create_connection((host, int(port)), TIMEOUT_MS / 1000) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        (size,) = struct.unpack(">i", _read(connection, 4))
        answer = _read(connection, size)
    # Correlation id, one topic by name, one partition: its number, then the error.
    (error,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic.encode()) + 4 + 4)
    return error


def _text(raw: bytes) -> bytes:
    return struct.pack(">h", len(raw)) + raw


def _read(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        received = connection.recv(size - len(found))
        if not received:
            raise RuntimeError("the broker closed the connection: it could not read the batch")
        found += received
    return found
