"""The rows of a file: CSV, columns set apart by blanks, JSON Lines, Parquet.

Invariants:
- A row is a mapping of column names to values, numbered from 1; what is no row is named as such, and reading
  goes on.
- Nothing is held but the row, or the batch of rows, being read.
- Decimal numbers of JSON stay exact (Decimal), and text stays what it is: no guessing of types.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ops.failures import Exit, Failure

FORMATS = ("csv", "columns", "jsonl", "parquet")
_BY_ENDING = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
# One line of a JSON Lines file; longer ones could not become an event (256 KiB) anyway.
LINE_BYTES_MAX = 4 * 1024 * 1024
# Rows of a Parquet file turned into Python objects at a time: a few MB.
PARQUET_BATCH = 5_000


class Layout(NamedTuple):
    """How a file is to be read; `columns` names them where the file does not, or renames them."""

    format: str | None = None
    delimiter: str | None = None
    quote: str = '"'
    header: bool = True
    columns: tuple[str, ...] | None = None
    encoding: str = "utf-8"


class Row(NamedTuple):
    """One row: its number, its line in the file (None for Parquet), its values; or why it is none."""

    number: int
    line: int | None
    values: dict[str, Any]
    fault: str | None = None

    @property
    def place(self) -> str:
        """`row 17 (line 18)`."""
        return f"row {self.number}" + (f" (line {self.line})" if self.line else "")


class Rows:
    """The rows of one file, read once from the first to the last.

    `columns` are known before the first row, but for JSON Lines (None). `done` of `total` says how far it is:
    bytes of the file as it lies on the disk, or rows of a Parquet file.
    Raises Failure when the file cannot be read as `layout` says.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.format = layout.format or _format_of(path)
        self.layout = layout
        self.columns: Sequence[str] | None = layout.columns
        self.total = path.stat().st_size
        self._parquet: Any = None
        self._raw: BinaryIO | None = None
        self._rows_read = 0
        if self.format == "parquet":
            self._open_parquet()
        else:
            self._lines = self._text_lines()
            if self.format != "jsonl":
                self._open_table()

    @property
    def done(self) -> int:
        """How much of `total` has been read."""
        if self._parquet is not None:
            return self._rows_read
        return self._raw.tell() if self._raw is not None and not self._raw.closed else self.total

    def __iter__(self) -> Iterator[Row]:
        """Every row, in the order of the file."""
        if self._parquet is not None:
            return self._parquet_rows()
        return self._json_rows() if self.format == "jsonl" else self._table_rows()

    def _text_lines(self) -> Iterator[str]:
        """The lines of the file; bytes that are no text become surrogates, which make their row faulty."""
        codec = self.layout.encoding
        # A byte order mark, as Excel writes it, is no part of the first column's name.
        first = "utf-8-sig" if codec.lower().replace("_", "-") == "utf-8" else codec
        number = 0
        with ExitStack() as opened:
            self._raw = opened.enter_context(self.path.open("rb"))
            stream: Any = self._raw
            if self.path.suffix == ".gz":
                stream = opened.enter_context(gzip.open(self._raw))
            try:
                while line := stream.readline(LINE_BYTES_MAX):
                    number += 1
                    yield line.decode(first if number == 1 else codec, "surrogateescape")
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                damaged = f"{self.path}: after line {number}: {error}; the file is damaged"
                raise Failure(Exit.FAILED, damaged) from None

    def _cells(self) -> Iterator[tuple[int, list[str] | str]]:
        """The line at which each row ends, and its cells; or a text that says why it has none."""
        layout = self.layout
        if self.format == "columns":
            for number, line in enumerate(self._lines, 1):
                yield number, line.split(layout.delimiter)
            return
        delimiter = layout.delimiter or ("\t" if ".tsv" in self.path.suffixes else ",")
        reader = csv.reader(self._lines, delimiter=delimiter, quotechar=layout.quote, strict=True)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield reader.line_num, f"not CSV: {error}"
            else:
                yield reader.line_num, cells

    def _open_table(self) -> None:
        self._table = self._cells()
        if self.layout.header:
            _, named = next(self._table, (0, []))
            if isinstance(named, str):
                raise Failure(Exit.FAILED, f"{self.path}: the header is {named}")
            self.columns = self.layout.columns or [name.strip() for name in named]
        if not self.columns:
            raise Failure(
                Exit.USAGE,
                f"{self.path}: no header line and no names; name them in the map: [file] columns = [...]",
            )

    def _table_rows(self) -> Iterator[Row]:
        columns = tuple(self.columns or ())
        number = 0
        for line, cells in self._table:
            if not cells:
                continue
            number += 1
            if isinstance(cells, str):
                yield Row(number, line, {}, cells)
                continue
            fault = None
            if len(cells) != len(columns):
                fault = f"{len(cells)} values where {len(columns)} columns are named"
            yield Row(number, line, dict(zip(columns, cells, strict=False)), fault)

    def _json_rows(self) -> Iterator[Row]:
        import msgspec

        decode = msgspec.json.Decoder(float_hook=Decimal).decode
        number = 0
        for line, text in enumerate(self._lines, 1):
            if not text.strip():
                continue
            number += 1
            try:
                values = decode(text)
            except (msgspec.DecodeError, UnicodeError) as error:
                yield Row(number, line, {}, f"not JSON: {error}")
                continue
            if isinstance(values, dict):
                yield Row(number, line, values)
            else:
                yield Row(
                    number, line, {}, 'not a JSON object: each line holds one row, {"column": value, …}'
                )

    def _open_parquet(self) -> None:
        import pyarrow
        from pyarrow import parquet

        try:
            self._parquet = parquet.ParquetFile(self.path)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise Failure(Exit.FAILED, f"{self.path}: no readable Parquet file: {error}") from None
        names = self._parquet.schema_arrow.names
        if self.columns is not None and len(self.columns) != len(names):
            raise Failure(
                Exit.USAGE,
                f"{self.path}: the map names {len(self.columns)} columns, the file has {len(names)}",
            )
        self.columns = self.columns or names
        self.total = self._parquet.metadata.num_rows

    def _parquet_rows(self) -> Iterator[Row]:
        for batch in self._parquet.iter_batches(batch_size=PARQUET_BATCH):
            for values in batch.rename_columns(list(self.columns or ())).to_pylist():
                self._rows_read += 1
                yield Row(self._rows_read, None, values)


def _format_of(path: Path) -> str:
    ending = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if ending not in _BY_ENDING:
        raise Failure(
            Exit.USAGE,
            f"{path}: a file ending in {ending or 'nothing'!r} may be anything; "
            f"say which in the map: [file] format = one of {', '.join(FORMATS)}",
        )
    return _BY_ENDING[ending]
