"""`scv export`: every customer's profile as published, at one position of `customer.profiles`, into files.

Guarantees:
- The position is chosen once, when it begins, and stands in the manifest: of each lane, the offset before
  which everything was read. Each customer is there once, as the last snapshot before it says; those that were
  merged away are not.
- The directory appears whole, by being renamed, or not at all; one that holds something is left alone.
- Memory is bounded by the customers of one lane (about 150 bytes each) and a group of rows.
- A snapshot that compaction takes away meanwhile is noticed, and nothing is exported.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from api.masking import mask_subject, masked
from eventlog.ends import lane_ends
from eventlog.reading import read_lane
from eventlog.topics import PROFILES
from models.profile import Profile
from models.record import Lane, Record
from ops.answers import say, say_json
from ops.configured import settings_with
from ops.export_files import RowFile, format_named
from ops.failures import Exit, Failure
from ops.progress import Progress
from projections.instants import rfc3339

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
# What a profile has beside its sections.
HEAD = ("schema_version", "customer_id", "state", "founder")
# Profiles too large for a record that the manifest names; it counts them all.
NAMED_MAX = 100


class Chosen(NamedTuple):
    """What of each profile is exported."""

    sections: tuple[str, ...]
    masked: bool


class Span(NamedTuple):
    """The records of one lane of the topic."""

    lane: Lane
    start: int
    end: int


class _Snapshot(msgspec.Struct):
    version: str
    data: dict[str, msgspec.Raw] | None = None


_read = msgspec.json.Decoder(_Snapshot).decode
_write = msgspec.json.Encoder().encode


def run_export(
    *, out: Path, format_: str, sections: str | None, masking: bool, kafka: str | None, as_json: bool
) -> int:
    """Write the files and the manifest; exit code 6 when some profiles were too large for the topic."""
    settings = settings_with(kafka=kafka)
    chosen = Chosen(sections_named(sections), masking)
    suffix, opened = format_named(format_, chosen.sections)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise Failure(Exit.REFUSED, f"{out}: exists already; name another directory, nothing is overwritten")
    spans = [
        Span(Lane(*lane), held.earliest, held.end)
        for lane, held in sorted(lane_ends(settings.kafka, [PROFILES], committed=True).items())
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    try:
        exported = Exported(settings.kafka, spans, chosen, as_json=as_json)
        with exported.progress:
            files = [
                exported.lane(span, made / f"profiles-{span.lane.partition:05d}{suffix}", opened)
                for span in spans
            ]
        manifest = _manifest(spans, chosen, format_, files, exported)
        (made / MANIFEST).write_bytes(msgspec.json.format(_write(manifest), indent=2) + b"\n")
        made.chmod(0o755)
        made.rename(out)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    _tell(out, manifest, as_json=as_json)
    return Exit.PARTLY if exported.too_large else Exit.OK


def sections_named(text: str | None) -> tuple[str, ...]:
    """The sections that `--sections` names, in the profile's order; all without it. Failure."""
    known = [name for name in Profile.model_fields if name not in HEAD]
    if text is None:
        return tuple(known)
    asked = {one.strip() for one in text.split(",") if one.strip()}
    if unknown := sorted(asked.difference(known)):
        raise Failure(Exit.USAGE, f"no section {', '.join(unknown)}; there are: {', '.join(known)}")
    if not asked:
        raise Failure(Exit.USAGE, f"--sections names none; there are: {', '.join(known)}")
    return tuple(name for name in known if name in asked)


class Exported:
    """What was read so far, lane by lane."""

    def __init__(
        self,
        bootstrap: str,
        spans: Sequence[Span],
        chosen: Chosen,
        *,
        as_json: bool,
        read: Callable[[str, str, int, int, int], Iterator[Record]] = read_lane,
    ) -> None:
        self._bootstrap, self._chosen, self._read = bootstrap, chosen, read
        self.customers, self.too_large, self.named = 0, 0, list[str]()
        self._done = 0
        # Each lane is gone through twice: what is last, then what it says.
        total = 2 * sum(span.end - span.start for span in spans)
        self.progress = Progress("export", total, "records", quiet=as_json)

    def lane(self, span: Span, path: Path, opened: Callable[[Path], RowFile]) -> Mapping[str, Any]:
        """Write the customers of one lane; what the manifest says of the file."""
        last: dict[bytes, int] = {}
        for record in self._records(span):
            if record.key is None:
                continue
            if record.value is None:
                last.pop(record.key, None)
            else:
                last[record.key] = record.offset
        count, left, file = 0, set(last.values()), opened(path)
        try:
            for record in self._records(span):
                if record.offset in left:
                    left.discard(record.offset)
                    row = self._row(record)
                    if row is not None:
                        file.add(row)
                        count += 1
        finally:
            file.close()
        if left:
            raise Failure(
                Exit.FAILED,
                f"{span.lane}: compaction removed {len(left)} snapshots meanwhile; run it again",
            )
        self.customers += count
        return {"name": path.name, "customers": count, "bytes": path.stat().st_size}

    def _records(self, span: Span) -> Iterator[Record]:
        begun = self._done
        for record in self._read(self._bootstrap, *span.lane, span.start, span.end):
            yield record
            self._done = begun + record.offset + 1 - span.start
            self.progress.update(self._done, self._done)
        # Compaction and markers leave offsets without a record.
        self._done = begun + span.end - span.start

    def _row(self, record: Record) -> bytes | None:
        """The row of a snapshot; None for a profile that was too large for its record."""
        try:
            snapshot = _read(record.value or b"")
        except msgspec.DecodeError as wrong:
            raise Failure(
                Exit.FAILED, f"{record.place}: no snapshot of a profile ({wrong}); who else writes there?"
            ) from None
        if snapshot.data is None:
            self.too_large += 1
            self.named += [(record.key or b"").decode(errors="replace")][: NAMED_MAX - len(self.named)]
            return None
        return _row(snapshot.data, snapshot.version, record.timestamp_ms, self._chosen)


def _row(data: Mapping[str, msgspec.Raw], version: str, at_ms: int, chosen: Chosen) -> bytes:
    founder = msgspec.json.decode(data["founder"])
    head = {
        "customer_id": data["customer_id"],
        "founder": mask_subject(founder) if chosen.masked else founder,
        "version": version,
        "published_at": rfc3339(max(at_ms, 0) * 1_000),
    }
    parts = []
    for name in chosen.sections:
        stored = bytes(data.get(name, b"null"))
        section = masked(name, stored) if chosen.masked and stored != b"null" else stored
        parts.append(b',"%b":%b' % (name.encode(), _traits(section) if name == "traits" else section))
    return _write(head)[:-1] + b"".join(parts) + b"}"


def _traits(section: bytes) -> bytes:
    """Traits with values as text: a column has one type, and theirs is any."""
    traits = msgspec.json.decode(section)
    if not traits:
        return section
    for trait in traits:
        if trait["value"] is not None and not isinstance(trait["value"], str):
            trait["value"] = _write(trait["value"]).decode()
    return _write(traits)


def _manifest(
    spans: Sequence[Span],
    chosen: Chosen,
    format_: str,
    files: Sequence[Mapping[str, Any]],
    exported: Exported,
) -> dict[str, Any]:
    return {
        "scv_export": MANIFEST_VERSION,
        "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "topic": PROFILES,
        "position": {str(span.lane): span.end for span in spans},
        "format": format_,
        "sections": list(chosen.sections),
        "masked": chosen.masked,
        "customers": exported.customers,
        "too_large": {"count": exported.too_large, "customer_ids": exported.named},
        "files": list(files),
    }


def _tell(out: Path, manifest: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json({"out": str(out), **manifest})
        return
    mebibytes = sum(file["bytes"] for file in manifest["files"]) / 2**20
    shown = "masked" if manifest["masked"] else "with personal data"
    say(f"{out}: {manifest['customers']:,} customers, {shown}, {mebibytes:,.1f} MiB of {manifest['format']}")
    if manifest["too_large"]["count"]:
        say(f"{manifest['too_large']['count']:,} profiles are too large for {PROFILES}, and are not in it.")
