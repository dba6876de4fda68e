"""Importing files: rows become the right events, exactly; what cannot is named with its row and reason."""

import gzip
import re
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.admin import create_topics
from eventlog.embedded import EmbeddedBroker
from eventlog.ends import lane_ends
from eventlog.producing import LogProducer
from eventlog.reading import read_topic
from models.careful import read
from models.decoding import Event
from models.fields import SAFE_INTEGER
from models.money import digits_of, minor_of, money_text
from ops import cli
from ops.failures import Exit, Failure
from ops.import_map import RowRejected, load_map, read_map
from ops.importing import BrokenOff, EventMaker, Outcome, run_import
from ops.rows import Layout, Row, Rows

ROOT = Path(__file__).resolve().parent.parent
CDNOW = ROOT / "data" / "cdnow" / "CDNOW_master.txt"
EXAMPLES = Path(__file__).resolve().parent / "data" / "imports"
NOW_US = 1_772_000_000_000_000

ORDERS = """
[event]
type = "sales.order_placed"
source = "import/orders"
subject = "crm:{customer}"
id = "{number}"
time = { column = "at", format = "%d.%m.%Y %H:%M", zone = "Europe/Berlin" }

[data]
order_id = "{number}"
currency = "{currency}"
amount_minor = { column = "total", as = "minor", currency_column = "currency", decimal = ",", group = "." }
channel = { column = "where", values = { L = "store", W = "web" } }
"""
HEADER = "number;customer;at;total;currency;where\n"


class Kept:
    """A target that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | None, bytes | None]] = []
        self.flushed = 0

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        self.records.append((topic, key, value))

    def flush(self) -> None:
        self.flushed = len(self.records)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(value) for _, _, value in self.records if value is not None]


def import_rows(
    tmp_path: Path, text: str | bytes, map_text: str, name: str = "rows.csv", **options: Any
) -> tuple[Outcome, Kept]:
    file, map_file = tmp_path / name, tmp_path / "rows.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    map_file.write_text(map_text)
    plan, kept = load_map(str(map_file)), Kept()
    return run_import(Rows(file, plan.layout), plan, kept, now_us=NOW_US, **options), kept


def semicolons(map_text: str) -> str:
    return '[file]\ndelimiter = ";"\n' + map_text


def test_a_purchase_of_cdnow_becomes_an_order():
    plan = load_map("cdnow")
    rows = iter(Rows(CDNOW, plan.layout))
    assert plan.event(next(rows)) == {
        "specversion": "1.0",
        "type": "sales.order_placed",
        "id": "cdnow-1",
        "source": "import/cdnow",
        "subject": "crm:cdnow-00001",
        "time": "1997-01-01T05:00:00Z",
        "data": {
            "order_id": "cdnow-1",
            "amount_minor": 1177,
            "currency": "USD",
            "channel": "web",
            "lines": [{"product_id": "cd", "quantity": 1, "amount_minor": 1177}],
        },
    }


def test_all_of_cdnow_reaches_the_log_and_a_second_time_gives_the_same_bytes():
    plan = load_map("cdnow")
    first, second = Kept(), Kept()
    with EmbeddedBroker() as broker:
        create_topics(broker.bootstrap, partitions=2)
        with LogProducer(broker.bootstrap) as producer:
            outcome = run_import(Rows(CDNOW, plan.layout), plan, producer)
        ends = lane_ends(broker.bootstrap, ["sales.events"])
    assert (outcome.rows, outcome.sent, outcome.rejected) == (69_659, 69_659, 0)
    assert sum(one.end for one in ends.values()) == 69_659
    for kept in (first, second):
        run_import(Rows(CDNOW, plan.layout), plan, kept)
    assert first.records == second.records
    # The sum of the file's dollars, to the cent.
    dollars = sum(Decimal(line.split()[3]) for line in CDNOW.read_text().splitlines()[1:])
    assert sum(event["data"]["amount_minor"] for event in first.events) == dollars * 100


def test_what_is_sent_is_what_workers_read(tmp_path: Path):
    outcome, kept = import_rows(
        tmp_path, HEADER + "A-1;4711;28.02.2026 06:00;1.049,90;EUR;L\n", semicolons(ORDERS)
    )
    assert outcome.sent == 1
    topic, key, value = kept.records[0]
    event = read(topic, key, value, (), NOW_US)
    assert isinstance(event, Event)
    assert (event.subject, event.data.amount_minor, event.data.channel) == ("crm:4711", 104_990, "store")
    assert msgspec.json.decode(value or b"")["time"] == "2026-02-28T05:00:00Z"


@pytest.mark.parametrize(
    "line, reason",
    [
        ("A-1;;28.02.2026 06:00;1,00;EUR;L", "column customer is empty"),
        ("A-1;4711;28.02.2026 06:00;1,00;EUR", "5 values where 6 columns are named"),
        ("A-1;4711;2026-02-28;1,00;EUR;L", "is no time of the form"),
        ("A-1;4711;;1,00;EUR;L", "the column is empty"),
        ("A-1;4711;28.02.2026 06:00;1,005;EUR;L", "more decimals than EUR"),
        ("A-1;4711;28.02.2026 06:00;1,5;JPY;L", "more decimals than JPY"),
        ("A-1;4711;28.02.2026 06:00;ten;EUR;L", "no amount of money"),
        ("A-1;4711;28.02.2026 06:00;;EUR;L", "wrong_shape at /data/amount_minor"),
        ("A-1;4711;28.02.2026 06:00;1,00;euro;L", "wrong_shape at /data/currency"),
        ("A-1;4711;28.02.2026 06:00;1,00;EUR;X", "'X' is not among its values"),
        ("A-1;47 11;28.02.2026 06:00;1,00;EUR;L", "malformed_subject"),
    ],
)
def test_a_bad_row_is_named_with_its_reason_and_the_others_go_through(tmp_path: Path, line: str, reason: str):
    good = "A-2;4711;28.02.2026 06:00;1,00;EUR;W\n"
    outcome, kept = import_rows(tmp_path, HEADER + line + "\n" + good, semicolons(ORDERS))
    assert (outcome.rows, outcome.sent, outcome.rejected) == (2, 1, 1)
    assert reason in outcome.rejections[0].reason
    assert outcome.rejections[0].place == "row 1 (line 2)"
    assert [event["id"] for event in kept.events] == ["A-2"]


def test_an_id_that_two_rows_share_is_rejected(tmp_path: Path):
    line = "A-1;4711;28.02.2026 06:00;1,00;EUR;L\n"
    outcome, _ = import_rows(tmp_path, HEADER + line + line, semicolons(ORDERS))
    assert outcome.sent == 1
    assert "id 'A-1' is already row 1's" in outcome.rejections[0].reason


def test_only_the_first_rejections_are_kept_and_the_file_holds_all(tmp_path: Path):
    rejects = tmp_path / "bad.jsonl"
    outcome, _ = import_rows(tmp_path, HEADER + "A;;;;;\n" * 50, semicolons(ORDERS), rejects=rejects)
    assert (outcome.rejected, len(outcome.rejections)) == (50, 20)
    lines = [msgspec.json.decode(line) for line in rejects.read_bytes().splitlines()]
    assert len(lines) == 50
    assert lines[49]["row"] == 50
    assert lines[49]["values"]["number"] == "A"


def test_a_mark_of_excel_and_cells_of_several_lines_are_read(tmp_path: Path):
    text = '\ufeffwho,at,said\r\n4711,2026-02-28T06:00:00Z,"one\r\ntwo, ""three"""\r\n4712,2026-02-28,x\r\n'
    outcome, kept = import_rows(tmp_path, text, NOTES)
    assert outcome.rejected == 0
    assert kept.events[0]["data"]["text"] == 'one\r\ntwo, "three"'
    assert kept.events[1]["time"] == "2026-02-28T00:00:00Z"


NOTES = """
[event]
type = "marketing.social_mentioned"
source = "import/notes"
subject = "crm:{who}"
id = "note-{row}"
time = { column = "at" }
[data]
platform = "forum"
thread_id = "T-{row}"
text = "{said}"
"""


def test_bytes_that_are_no_text_reject_their_row_only(tmp_path: Path):
    text = "who,at,said\n1,2026-02-28,gr\xfcn\n2,2026-02-28,green\n".encode("latin-1")
    outcome, kept = import_rows(tmp_path, text, NOTES)
    assert (outcome.sent, outcome.rejected) == (1, 1)
    assert "encoding" in outcome.rejections[0].reason
    outcome, kept = import_rows(tmp_path, text, '[file]\nencoding = "latin-1"\n' + NOTES)
    assert [event["data"]["text"] for event in kept.events] == ["grün", "green"]


def test_a_damaged_row_of_csv_does_not_end_the_import(tmp_path: Path):
    outcome, kept = import_rows(tmp_path, 'who,at,said\n1,2026-02-28,"a"b\n2,2026-02-28,c\n', NOTES)
    assert outcome.rejected == 1
    assert [event["subject"] for event in kept.events] == ["crm:2"]


def test_a_compressed_file_is_read(tmp_path: Path):
    packed = gzip.compress(b"who,at,said\n1,2026-02-28,x\n")
    assert import_rows(tmp_path, packed, NOTES, name="rows.csv.gz")[0].sent == 1
    with pytest.raises(Failure, match="damaged"):
        import_rows(tmp_path, packed[:-8] + b"12345678", NOTES, name="rows.csv.gz")


def test_json_lines_reach_into_objects(tmp_path: Path):
    plan, kept = load_map(str(EXAMPLES / "visits.toml")), Kept()
    outcome = run_import(Rows(EXAMPLES / "visits.jsonl", plan.layout), plan, kept, now_us=NOW_US)
    assert (outcome.sent, outcome.rejected) == (2, 1)
    assert outcome.rejections[0].reason.endswith("column visitor.cookie is empty")
    first, second = kept.events
    assert first["data"]["identifiers"] == [{"type": "email", "value": "ada@example.com"}]
    assert "identifiers" not in second["data"]
    assert (first["data"]["channel"], second["data"]["channel"]) == ("app", "web")


def test_parquet_keeps_decimals_times_and_filters():
    plan, kept = load_map(str(EXAMPLES / "payments.toml")), Kept()
    outcome = run_import(Rows(EXAMPLES / "payments.parquet", plan.layout), plan, kept, now_us=NOW_US)
    assert (outcome.rows, outcome.sent, outcome.filtered) == (3, 2, 1)
    amounts = [(event["data"]["amount_minor"], event["data"]["currency"]) for event in kept.events]
    assert amounts == [(4990, "EUR"), (7980, "JPY")]
    assert kept.events[0]["time"] == "2026-01-28T06:00:00Z"


def test_lines_that_are_no_json_objects_are_rejected(tmp_path: Path):
    text = '{"who": 1, "at": "2026-02-28", "said": "x"}\n[1]\n{"who": \n\n{"who": 2, "at": 5, "said": "x"}\n'
    outcome, _ = import_rows(tmp_path, text, NOTES, name="rows.jsonl")
    assert (outcome.rows, outcome.sent) == (4, 1)
    assert [one.place for one in outcome.rejections] == ["row 2 (line 2)", "row 3 (line 3)", "row 4 (line 5)"]


def test_json_numbers_never_pass_through_a_float(tmp_path: Path):
    text = '{"number": "A", "total": 70368744177664.07}\n'
    outcome, kept = import_rows(
        tmp_path,
        text,
        '[event]\ntype = "sales.quote_sent"\nsource = "s"\nsubject = "crm:1"\nid = "{number}"\n'
        '[data]\nquote_id = "{number}"\ncurrency = "EUR"\n'
        'amount_minor = { column = "total", as = "minor", currency = "EUR" }\n',
        name="rows.jsonl",
    )
    assert outcome.rejections == []
    assert kept.events[0]["data"]["amount_minor"] == 7_036_874_417_766_407


def test_times_in_the_future_are_counted(tmp_path: Path):
    outcome, _ = import_rows(tmp_path, "who,at,said\n1,2999-01-01,x\n", NOTES)
    assert (outcome.sent, outcome.clamped) == (1, 1)


def test_an_import_that_breaks_off_says_where_to_go_on(tmp_path: Path):
    class Stopped(Kept):
        def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
            if len(self.records) == 3:
                raise KeyboardInterrupt
            super().produce(topic, key, value)

    plan = load_map("cdnow")
    stopped, rest, whole = Stopped(), Kept(), Kept()
    with pytest.raises(BrokenOff) as broken:
        run_import(Rows(CDNOW, plan.layout), plan, stopped)
    assert stopped.flushed == 3
    assert broken.value.outcome.next_row == 4
    sample = tmp_path / "sample.txt"
    sample.write_text("".join(CDNOW.read_text().splitlines(keepends=True)[:11]))
    run_import(Rows(sample, plan.layout), plan, rest, from_row=4)
    run_import(Rows(sample, plan.layout), plan, whole)
    assert stopped.records + rest.records == whole.records


@pytest.mark.parametrize(
    "change, complaint",
    [
        (("[event]", "[events]"), "'events' is not known there; did you mean event?"),
        (('type = "sales.order_placed"', 'type = "sales.order_place"'), "did you mean sales.order_placed?"),
        (('\nid = "{number}"', ""), "[event] id: is required"),
        (('order_id = "{number}"', 'orderid = "{number}"'), "did you mean order_id?"),
        (('as = "minor"', 'as = "cents"'), "'cents' is none of"),
        ((', currency_column = "currency"', ""), "minor units need"),
        (('zone = "Europe/Berlin"', 'zone = "Berlin"'), "'Berlin' is no time zone"),
        (('subject = "crm:{customer}"', 'subject = "crm:{customer"'), "write {column}"),
        (("[data]", "[data"), "not TOML"),
        (('"{currency}"', "2026-01-01"), "a date of TOML is not possible here"),
        (("[data]", '[[filter]]\ncolumn = "where"\n[data]'), "either `is` or `is_not`"),
        (("[event]", '[file]\nformat = "excel"\n[event]'), "'excel' is none of"),
    ],
)
def test_a_map_that_cannot_work_is_refused_before_the_first_row(change: tuple[str, str], complaint: str):
    with pytest.raises(Failure, match=re.escape(complaint)) as refused:
        read_map("orders.toml", ORDERS.replace(*change))
    assert refused.value.code == Exit.USAGE


def test_a_column_that_the_file_does_not_have_is_named(tmp_path: Path):
    with pytest.raises(Failure, match="no column said"):
        import_rows(tmp_path, "who,at\n1,2026-02-28\n", NOTES)


TEXTS = st.text(max_size=40) | st.sampled_from(["", " ", "1", "1,5", "-0", "1e5", "28.02.2026 06:00", "EUR"])
VALUES = TEXTS | st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.lists(TEXTS)


@given(st.dictionaries(st.sampled_from(["number", "customer", "at", "total", "currency", "where"]), VALUES))
def test_whatever_a_row_holds_it_is_an_event_that_workers_fold_or_a_rejection(values: dict[str, Any]):
    plan = read_map("orders.toml", ORDERS)
    try:
        made = EventMaker(plan, NOW_US).make(Row(1, 2, values))
    except RowRejected:
        return
    assert isinstance(read(plan.topic, made.key, made.value, (), NOW_US), Event)


@given(st.integers(-SAFE_INTEGER, SAFE_INTEGER), st.sampled_from(["EUR", "JPY", "KWD", "CLF", "XYZ"]))
def test_money_comes_back_from_text_to_the_last_unit(minor: int, currency: str):
    text = str(Decimal(minor).scaleb(-digits_of(currency)))
    assert minor_of(text if "E" not in text else f"{Decimal(text):f}", currency) == minor
    assert minor_of(Decimal(minor).scaleb(-digits_of(currency)), currency) == minor
    assert money_text(minor, currency)


@pytest.mark.parametrize("amount", ["", "1_000", "1e3", "NaN", "Infinity", "½", "٣", "9" * 30, "1.0.0"])
def test_what_is_no_plain_amount_is_refused(amount: str):
    with pytest.raises(ValueError, match="amount|too large"):
        minor_of(amount, "EUR")


def test_the_examples_of_the_documentation_are_maps_that_work():
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "import.md").read_text(), re.DOTALL)
    maps = [block for block in blocks if "[event]" in block]
    assert len(maps) >= 2
    for block in maps:
        read_map("docs/import.md", block)
    shipped = (ROOT / "ops" / "maps" / "cdnow.toml").read_text()
    uncommented = [line for line in shipped.splitlines() if not line.startswith("#")]
    assert "\n".join(uncommented).strip() == maps[0].strip()


def test_a_format_that_no_ending_tells_must_be_named(tmp_path: Path):
    file = tmp_path / "rows.dat"
    file.write_text("")
    with pytest.raises(Failure, match="format = one of csv, columns, jsonl, parquet"):
        Rows(file, Layout())


def test_the_command_ends_with_the_code_that_says_how_it_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], embedded_broker: EmbeddedBroker
):
    map_file, file = tmp_path / "notes.toml", tmp_path / "notes.csv"
    map_file.write_text(NOTES)

    def codes(text: str, *more: str) -> int:
        file.write_text("who,at,said\n" + text)
        return cli.run(
            ["import", str(file), "--map", str(map_file), "--kafka", embedded_broker.bootstrap, *more]
        )

    create_topics(embedded_broker.bootstrap, partitions=1)
    before = sum(one.end for one in lane_ends(embedded_broker.bootstrap, ["marketing.events"]).values())
    assert codes("1,2026-02-28,x\n") == Exit.OK
    assert codes("1,2026-02-28,x\n,,\n") == Exit.PARTLY
    assert codes(",,\n") == Exit.FAILED
    assert codes("1,2026-02-28,x\n", "--dry-run") == Exit.OK
    assert codes("1,2026-02-28,x\n,,\n", "--dry-run") == Exit.PARTLY
    capsys.readouterr()
    assert codes("1,2026-02-28,x\n", "--json") == Exit.OK
    told = msgspec.json.decode(capsys.readouterr().out)
    assert (told["rows"], told["sent"], told["rejected"]) == (1, 1, 0)
    after = sum(one.end for one in lane_ends(embedded_broker.bootstrap, ["marketing.events"]).values())
    assert after - before == 3
    records = list(read_topic(embedded_broker.bootstrap, "marketing.events"))
    assert records[-1].key == b"crm:1"


def test_an_outcome_can_be_told_as_json():
    assert msgspec.json.encode(asdict(Outcome()))
