"""Read batches as aiokafka does, and go on where it would raise: at a header whose name is no UTF-8.

Guarantees:
- A record with such a header comes without headers; key, value, offset and time are as ever, and so are all
  other records. `eventlog.reading` says the same of it: librdkafka's client cannot tell its headers at all.
- Every other batch is read by aiokafka's own compiled code, at its speed.

Kafka does not look at the names of headers, and sources write them in any encoding. aiokafka raises in the
middle of a fetch, at each try again: no worker would ever get past the record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import aiokafka.consumer.fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.memory_records import MemoryRecords

# Of a batch in a fetch: its base offset, and how many bytes follow.
_BATCH = struct.Struct(">qi")


class LenientRecords:
    """The batches of one lane in one fetch; takes the place of aiokafka's `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._data, self._read = data, MemoryRecords(data)
        self._start = 0

    def size_in_bytes(self) -> int:
        """As aiokafka's."""
        return self._read.size_in_bytes()

    def has_next(self) -> bool:
        """As aiokafka's."""
        return self._read.has_next()

    def next_batch(self) -> LenientBatch | None:
        """As aiokafka's."""
        batch = self._read.next_batch()
        if batch is None:
            return None
        _, size = _BATCH.unpack_from(self._data, self._start)
        start, self._start = self._start, self._start + _BATCH.size + size
        return LenientBatch(batch, memoryview(self._data)[start : self._start])


class LenientBatch:
    """One batch; `raw` are its bytes."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch, self._raw = batch, raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        passed = 0
        try:
            for record in self._batch:
                yield record
                passed += 1
        except UnicodeDecodeError:
            for number, record in enumerate(read_leniently(self._raw)):
                if number >= passed:
                    yield record


def read_leniently(raw: memoryview) -> Iterator[_DefaultRecordPy]:
    """The records of a batch; those with a header whose name is no UTF-8 without headers."""
    batch = _DefaultRecordBatchPy(raw)
    batch._maybe_uncompress()
    batch._buffer = _NamesInAnyEncoding(batch._buffer)
    for record in batch:
        if all(_is_text(name) for name, _ in record.headers):
            yield record
        else:
            yield _DefaultRecordPy(
                record.offset, record.timestamp, record.timestamp_type, record.key, record.value, []
            )


class _NamesInAnyEncoding(bytearray):
    """Bytes whose slices decode to text whatever they are; aiokafka decodes nothing but names of headers."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _NamesInAnyEncoding(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return super().decode(encoding, "surrogateescape")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # a surrogate stands for each byte that was none
        return False
    return True


def install() -> None:
    """Have aiokafka's fetcher read batches this way; it names the class in its own module."""
    aiokafka.consumer.fetcher.MemoryRecords = LenientRecords
