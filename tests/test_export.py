"""`scv export`: every published profile once, in both formats, at one position; whole or not at all."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyarrow import parquet

from eventlog.embedded import EmbeddedBroker
from eventlog.ends import lane_ends
from eventlog.producing import LogProducer
from eventlog.reading import read_topic
from eventlog.topics import PROFILES
from models.record import Lane, Record
from ops import cli
from ops.export_files import GROUP_ROWS_MAX, JsonLines, Parquet
from ops.export_schema import INSTANT, schema
from ops.exporting import HEAD, Chosen, Exported, Span, sections_named
from ops.failures import Exit, Failure
from stores.embedded import EmbeddedStore
from tests.publishing_world import PublishingWorld

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "export.md").read_text()


@pytest.fixture(scope="module")
def world() -> Iterator[PublishingWorld]:
    """Six customers, one of them joined by another after both were published, and all kinds of values."""
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        world = PublishingWorld(broker.bootstrap, store.url)
        tell = world.view.tell
        for number in range(6):
            subject = f"crm:{number}"
            tell("marketing.page_viewed", subject, f"email:{number}@example.com", page="/", channel="web")
            tell(
                "marketing.profile_updated", subject, given_name="Ada", family_name="Byron", tier="gold",
                traits={"size": number, "sunny": True, "share": 0.5, "mood": "fine", "none": None},
            )  # fmt: skip
            tell("sales.order_placed", subject, order_id=f"O-{number}", amount_minor=4990, currency="EUR")
        tell("marketing.page_viewed", "web:8", "email:8@example.com", page="/")
        world.publish()
        # Until now a customer of its own; not any more.
        tell("marketing.page_viewed", "crm:0", "email:8@example.com", page="/again")
        world.publish()
        assert any(record.value is None for record in read_topic(broker.bootstrap, PROFILES))
        yield world
        world.close()


def export(world: PublishingWorld, out: Path, *words: str) -> int:
    """The exit code of the command."""
    return cli.run(["export", "--out", str(out), "--kafka", world.bootstrap, *words])


def rows(out: Path) -> dict[str, dict[str, Any]]:
    """The rows of an export as lines of JSON, by customer; each is there once."""
    found = [json.loads(line) for file in out.glob("*.jsonl") for line in file.read_text().splitlines()]
    assert len({one["customer_id"] for one in found}) == len(found)
    return {one["customer_id"]: one for one in found}


def manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "manifest.json").read_text())


def as_column(kind: pa.DataType, value: Any) -> Any:
    """What a column of this type has to say where the profile says `value`."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {field.name: as_column(field.type, value.get(field.name)) for field in kind}
    if pa.types.is_list(kind):
        return [as_column(kind.value_type, one) for one in value]
    if kind == INSTANT:
        return datetime.fromisoformat(value)
    return value if kind != pa.string() or isinstance(value, str) else json.dumps(value)


def test_lines_of_json_say_what_the_store_says_of_every_living_customer(
    world: PublishingWorld, tmp_path: Path
) -> None:
    assert export(world, tmp_path / "out", "--format", "jsonl") == Exit.OK
    profiles, found = world.profiles(), rows(tmp_path / "out")
    assert found.keys() == profiles.keys() and len(found) == manifest(tmp_path / "out")["customers"]
    for customer, profile in profiles.items():
        told = {name: value for name, value in found[customer].items() if name in sections_named(None)}
        for trait in profile["traits"]:
            if trait["value"] is not None and not isinstance(trait["value"], str):
                trait["value"] = json.dumps(trait["value"])
        assert told == {name: value for name, value in profile.items() if name not in HEAD}
        assert found[customer]["founder"] == profile["founder"]


def test_parquet_says_the_same_in_typed_columns(world: PublishingWorld, tmp_path: Path) -> None:
    assert export(world, tmp_path / "json", "--format", "jsonl") == Exit.OK
    assert export(world, tmp_path / "parquet") == Exit.OK
    lines, found = rows(tmp_path / "json"), 0
    for file in (tmp_path / "parquet").glob("*.parquet"):
        table = parquet.read_table(file)
        for row in table.to_pylist():
            expected = lines[row["customer_id"]]
            assert row == {one.name: as_column(one.type, expected[one.name]) for one in table.schema}
            found += 1
    assert found == len(lines)


def leaves(kind: pa.DataType, path: str) -> Iterator[tuple[str, pa.DataType]]:
    """The values inside a type, with the names that lead there."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from leaves(field.type, f"{path}.{field.name}")
    elif pa.types.is_list(kind):
        yield from leaves(kind.value_type, path)
    else:
        yield path, kind


def test_instants_are_timestamps_amounts_are_whole_numbers_and_no_field_is_missing() -> None:
    columns = {
        path: kind
        for column in schema(sections_named(None))
        for path, kind in leaves(column.type, column.name)
    }
    instants = {path for path in columns if path.endswith(("_at", "since"))}
    assert {path for path, kind in columns.items() if kind == INSTANT} == instants and len(instants) > 40
    minor = [kind for path, kind in columns.items() if path.endswith(("_minor", "_count", "seconds_total"))]
    assert set(minor) == {pa.int64()} and columns["traits.value"] == pa.string()
    assert columns["summary.do_not_contact"] == pa.bool_()


def test_columns_can_be_asked_of_by_name(world: PublishingWorld, tmp_path: Path) -> None:
    assert export(world, tmp_path / "out", "--sections", "sales,summary") == Exit.OK
    assert manifest(tmp_path / "out")["sections"] == ["summary", "sales"]
    asked = (
        f"select summary.tier, sum(sales.order_count) from '{tmp_path}/out/*.parquet' group by 1 order by 2"
    )
    assert duckdb.sql(asked).fetchall()[-1] == ("gold", 6)


def test_masked_files_hold_no_personal_data(world: PublishingWorld, tmp_path: Path) -> None:
    assert export(world, tmp_path / "out", "--format", "jsonl", "--masked") == Exit.OK
    text = "".join(file.read_text() for file in (tmp_path / "out").glob("*.jsonl"))
    assert "A… B…" in text and manifest(tmp_path / "out")["masked"] is True
    assert not re.search(r"Ada|Byron|\w@example|fine", text)


def test_what_is_published_after_the_position_is_not_in_it(world: PublishingWorld, tmp_path: Path) -> None:
    spans = [Span(Lane(*lane), *held) for lane, held in lane_ends(world.bootstrap, [PROFILES]).items()]
    before = world.profiles()
    world.view.tell("marketing.page_viewed", "crm:new", page="/")
    world.view.tell("marketing.page_viewed", "crm:4", page="/later")
    world.publish()
    exported = Exported(world.bootstrap, spans, Chosen(sections_named(None), masked=False), as_json=True)
    for span in spans:
        exported.lane(span, tmp_path / f"{span.lane}.jsonl", JsonLines)
    found = rows(tmp_path)
    assert found.keys() == before.keys() != world.profiles().keys()
    assert all(one["timeline"] == before[customer]["timeline"] for customer, one in found.items())


def test_a_snapshot_that_is_gone_at_the_second_reading_is_noticed(tmp_path: Path) -> None:
    value = b'{"version":"1.0.1","data":{"founder":"crm:1","customer_id":"cus_1"}}'
    readings = [[Record(PROFILES, 0, 0, 0, b"cus_1", value, [])], []]
    exported = Exported(
        "", [], Chosen(("summary",), masked=False), as_json=True, read=lambda *_: iter(readings.pop(0))
    )
    with pytest.raises(Failure, match="compaction removed 1 snapshots meanwhile"):
        exported.lane(Span(Lane(PROFILES, 0), 0, 1), tmp_path / "x.jsonl", JsonLines)


def test_a_profile_too_large_for_its_record_is_named_and_left_out(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        small = PublishingWorld(broker.bootstrap, store.url)
        small.close()
        with LogProducer(broker.bootstrap) as producer:
            producer.produce(PROFILES, b"cus_1", b'{"version":"1.0.1","dataref":"/v1/profiles/cus_1"}')
        assert export(small, tmp_path / "out") == Exit.PARTLY
    assert manifest(tmp_path / "out")["too_large"] == {"count": 1, "customer_ids": ["cus_1"]}


def test_rows_come_in_groups_and_none_is_lost(tmp_path: Path) -> None:
    file = Parquet(tmp_path / "x.parquet", ("meta",))
    for number in range(GROUP_ROWS_MAX + 1):
        file.add(b'{"customer_id":"cus_%d","published_at":"2026-03-01T10:42:07.120Z"}' % number)
    file.close()
    written = parquet.ParquetFile(tmp_path / "x.parquet")
    assert (written.num_row_groups, written.metadata.num_rows) == (2, GROUP_ROWS_MAX + 1)
    assert written.read(["customer_id"]).to_pylist()[-1] == {"customer_id": f"cus_{GROUP_ROWS_MAX}"}


def test_what_breaks_off_leaves_nothing_and_can_be_run_again(
    world: PublishingWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(JsonLines, "add", stopped)
        assert export(world, tmp_path / "out", "--format", "jsonl") == Exit.INTERRUPTED
    assert list(tmp_path.iterdir()) == []
    assert export(world, tmp_path / "out", "--format", "jsonl") == Exit.OK
    held = sorted(file.name for file in (tmp_path / "out").iterdir())
    capsys.readouterr()
    assert export(world, tmp_path / "out", "--format", "jsonl") == Exit.REFUSED
    assert "nothing is overwritten" in capsys.readouterr().err
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == held


def test_what_cannot_be_done_is_told_in_one_line(
    world: PublishingWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert (export(world, out, "--format", "csv"), export(world, out, "--sections", "x")) == (2, 2)
    assert "there are parquet and jsonl" in (said := capsys.readouterr().err) and said.count("\n") == 2
    # As if it were not installed.
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert export(world, out) == Exit.FAILED
    assert "pip install pyarrow; or use --format jsonl" in capsys.readouterr().err
    assert not out.exists()


def test_the_commands_of_the_page_work(
    world: PublishingWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCV_KAFKA", world.bootstrap)
    shell, query = (
        re.findall(rf"^```{one}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for one in ("sh", "sql")
    )
    for line in shell[0].splitlines():
        assert cli.run(shlex.split(line)[1:]) == Exit.OK, line
    assert duckdb.sql(query[0]).fetchall()
    assert (
        manifest(tmp_path / "profiles").keys()
        >= json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0]).keys()
    )
