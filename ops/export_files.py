"""The files of an export: lines of JSON, or Parquet with typed columns.

Invariants:
- A row is one line of JSON; Parquet is made from the same lines, so both say the same.
- Rows are written in groups of at most `GROUP_ROWS_MAX` or `GROUP_BYTES_MAX`: that bounds the memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ops.failures import Exit, Failure

# A row is some 9 kB; a group is what Parquet compresses and readers skip as one.
GROUP_ROWS_MAX = 5_000
GROUP_BYTES_MAX = 32 * 2**20


class RowFile(Protocol):
    """A file that rows are added to."""

    def add(self, row: bytes) -> None:
        """One more row, a line of JSON without its end."""

    def close(self) -> None:
        """Write what is left."""


class JsonLines:
    """Rows as they are."""

    suffix = ".jsonl"

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def add(self, row: bytes) -> None:
        """One more line."""
        self._file.write(row + b"\n")

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


class Parquet:
    """Rows as typed columns, compressed with zstd."""

    suffix = ".parquet"

    def __init__(self, path: Path, sections: Sequence[str]) -> None:
        from pyarrow import parquet

        from ops.export_schema import schema

        self._path, self._schema = path, schema(sections)
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._forget()

    def _forget(self) -> None:
        self._group, self._rows = io.BytesIO(), 0

    def add(self, row: bytes) -> None:
        """One more row."""
        self._group.write(row + b"\n")
        self._rows += 1
        if self._rows == GROUP_ROWS_MAX or self._group.tell() >= GROUP_BYTES_MAX:
            self._flush()

    def _flush(self) -> None:
        import pyarrow
        from pyarrow import json

        if not self._rows:
            return
        parsing = json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior="ignore")
        # A block must hold the longest line.
        reading = json.ReadOptions(block_size=max(self._group.tell() + 1, 1 << 20), use_threads=False)
        self._group.seek(0)
        try:
            table = json.read_json(self._group, read_options=reading, parse_options=parsing)
        except pyarrow.ArrowInvalid as wrong:
            raise Failure(
                Exit.FAILED, f"{self._path.name}: no columns can be made: {wrong}; use --format jsonl"
            ) from None
        self._writer.write_table(table.select(self._schema.names).cast(self._schema))
        self._forget()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._writer.close()


def format_named(name: str, sections: Sequence[str]) -> tuple[str, Callable[[Path], Any]]:
    """The suffix of a format's files, and what opens one. Failure for an unknown one, or without pyarrow."""
    if name == "jsonl":
        return JsonLines.suffix, JsonLines
    if name != "parquet":
        raise Failure(Exit.USAGE, f"--format {name}: there are parquet and jsonl")
    try:
        from pyarrow import json, parquet  # noqa: F401 - here, so that it is told before anything is read
    except ImportError:
        raise Failure(
            Exit.FAILED, "--format parquet needs pyarrow: pip install pyarrow; or use --format jsonl"
        ) from None
    return Parquet.suffix, lambda path: Parquet(path, sections)
