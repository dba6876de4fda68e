"""docs/redis.md and README.md tell the truth: their commands and programs are run against servers.

Guarantees:
- Every console example gives what the page shows (`…` stands for anything), every Python example runs, and
  what the JavaScript examples send is sent.
- The documented read-only user can do what the page says, and nothing else.
"""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Producer

from models.identifiers import customer_id
from models.record import Lane
from ops.installation import Installation
from stores.keys import Keys
from stores.publishing import published_key

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "redis.md"
README = ROOT / "README.md"
PATIENCE_SECONDS = 60.0

# A person at the same phone, told as the README tells the first.
SECOND = {
    "specversion": "1.0",
    "id": "evt-2",
    "source": "shop/checkout",
    "type": "sales.order_placed",
    "time": "2026-03-01T11:00:00Z",
    "subject": "crm:4712",
    "data": {
        "order_id": "O-2",
        "amount_minor": 1990,
        "currency": "EUR",
        "identifiers": [{"type": "phone", "value": "+49 30/901820"}],
    },
}

# The first person's browser: merged with her by the email, it leaves a tombstone.
BROWSER = {
    "specversion": "1.0",
    "id": "evt-3",
    "source": "web/tracker",
    "type": "marketing.page_viewed",
    "time": "2026-03-01T11:05:00Z",
    "subject": "web:v-81",
    "data": {"page": "/", "identifiers": [{"type": "email", "value": "ada@example.com"}]},
}

# Where a machine has no redis-cli: the same command over the same protocol.
REDIS_CLI = """#!{python}
import sys, redis
url, arguments = sys.argv[2], sys.argv[3:]
answer = redis.Redis.from_url(url, decode_responses=True).execute_command(*arguments)
lines = sorted(answer) if isinstance(answer, (list, set)) else [answer]
print(*("OK" if line is True else line for line in lines), sep="\\n")
"""


def blocks(page: Path, language: str) -> list[str]:
    """The fenced examples of a page in one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def run_python(program: str, names: dict[str, Any]) -> str:
    """What a program of the page prints; `names` is what earlier ones defined."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "example", "exec"), names)
    return printed.getvalue()


def readme_example(call: str) -> str:
    """The one Python example of the README that makes this call."""
    (program,) = [program for program in blocks(README, "python") if call in program]
    return program


def console_examples(page: Path) -> list[tuple[str, str]]:
    """Commands of a page with the answers shown under them."""
    found: list[tuple[str, str]] = []
    for block in blocks(page, "console"):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = example.partition("\n")
            found.append((command, answer.strip()))
    return found


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """Servers and a worker that has folded the README's event and two more, and placed all three."""
    with Installation() as running:
        running.start_worker()
        environment = pytest.MonkeyPatch()
        environment.setenv("SCV_KAFKA", running.settings.kafka)
        environment.setenv("SCV_REDIS", running.settings.redis)
        run_python(readme_example("produce("), {})
        producer = Producer({"bootstrap.servers": running.settings.kafka, "partitioner": "murmur2_random"})
        producer.produce("sales.events", key=SECOND["subject"], value=json.dumps(SECOND))
        producer.produce("marketing.events", key=BROWSER["subject"], value=json.dumps(BROWSER))
        producer.flush()
        wait_until_placed(running)
        yield running
        environment.undo()


def wait_until_placed(running: Installation) -> None:
    """Three records assembled, three subjects in two customers, and nothing left to do."""
    ends = running.ends(("sales.events", "marketing.events"))
    keys = Keys("g1")
    deadline = time.monotonic() + PATIENCE_SECONDS
    with redis.Redis.from_url(running.settings.redis, decode_responses=True) as client:
        while True:
            running.check()
            stamps = [client.get(keys.membership(one)) for one in ("crm:4711", "crm:4712", "web:v-81")]
            states = [
                client.hget(keys.profile(customer_id(one)), "state") for one in ("crm:4711", "web:v-81")
            ]
            versions = [
                str(client.hget(keys.profile(customer_id(one)), "version"))
                for one in ("crm:4711", "crm:4712")
            ]
            busy = client.exists(keys.dirty(keys.links))
            placed = all(stamps) and states == ["live", "merged"] and not busy
            if placed and running.assembled(ends) == 3 and [one[-2:] for one in versions] == [".2", ".1"]:
                return
            assert time.monotonic() < deadline, f"{stamps}, {states}, {versions}, marks: {busy}"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def view(installation: Installation) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(installation.settings.redis, decode_responses=True) as client:
        yield client


@pytest.fixture
def shell(installation: Installation, tmp_path: Path) -> dict[str, str]:
    """An environment with a redis-cli."""
    found = {**os.environ, "SCV_REDIS": installation.settings.redis}
    if shutil.which("redis-cli") is None:
        standing_in = tmp_path / "redis-cli"
        standing_in.write_text(REDIS_CLI.format(python=sys.executable))
        standing_in.chmod(standing_in.stat().st_mode | stat.S_IXUSR)
        found["PATH"] = f"{tmp_path}{os.pathsep}{found['PATH']}"
    return found


@pytest.mark.parametrize("page", [PAGE, README], ids=["redis.md", "README.md"])
def test_every_console_example_gives_what_the_page_shows(page: Path, shell: dict[str, str]) -> None:
    examples = console_examples(page)
    assert examples
    for command, shown in examples:
        ran = subprocess.run(
            ["sh", "-c", command],
            env=shell,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_SECONDS,
        )
        pattern = ".*".join(re.escape(piece) for piece in shown.split("…"))
        assert re.fullmatch(pattern, ran.stdout.strip(), re.DOTALL), f"{command}\n{ran.stdout}"


def test_the_python_examples_find_the_order(installation: Installation) -> None:
    names: dict[str, Any] = {}
    in_one_call, step_by_step = blocks(PAGE, "python")
    assert run_python(in_one_call, names) == "1 order(s)\n"
    printed = run_python(step_by_step, names).splitlines()
    assert re.match(r"\d+\.2 \[\{'currency': 'EUR', 'gross_minor': 4990", printed[0])
    assert printed[1] == "2 True"
    for asked in ("email:ada@example.com",), ("phone:+4930901820", "order:O-1"), ("crm:4712",), ("crm:9",):
        pairs = [piece for name in asked for piece in name.split(":", 1)]
        answer = json.loads(names["view"].fcall_ro("scv_lookup", 1, "scv", *pairs))
        assert names["customers"](*asked) == sorted(one["customer_id"] for one in answer["customers"])
    assert run_python(readme_example("fcall_ro"), {}).startswith(
        "single [{'currency': 'EUR', 'gross_minor': 4990"
    )


@pytest.mark.parametrize("page", [PAGE, README], ids=["redis.md", "README.md"])
def test_what_the_javascript_examples_send_is_understood(page: Path, view: redis.Redis) -> None:
    sent = [
        json.loads(one)
        for block in blocks(page, "js")
        for one in re.findall(r"sendCommand\((\[.*?\])\)", block)
    ]
    assert sent
    for command in sent:
        answer = view.execute_command(*command)
        assert "4990" in str(answer), command


def reader_of(view: redis.Redis) -> redis.Redis:
    """A client of the user that the page creates."""
    (command,) = [command for command, _ in console_examples(PAGE) if "ACL SETUSER" in command]
    arguments = shlex.split(command)
    view.execute_command(*arguments[arguments.index("ACL") :])
    name = arguments[arguments.index("SETUSER") + 1]
    (password,) = [argument[1:] for argument in arguments if argument.startswith(">")]
    port = view.connection_pool.connection_kwargs["port"]
    return redis.Redis(port=port, username=name, password=password, decode_responses=True)


def test_the_reader_can_read_what_is_public(view: redis.Redis) -> None:
    keys, ada = Keys("g1"), customer_id("crm:4711")
    with reader_of(view) as reader:
        assert reader.get("scv:active") == "g1 1"
        assert ada in str(reader.get(keys.identifier("crm:4711")))
        assert reader.smembers(keys.reference("order:O-1")) == {"crm:4711"}
        assert str(reader.hget(keys.profile(ada), "version")).endswith(".2")
        assert reader.xrange(keys.feed) == []
        old = customer_id("web:v-81")
        for name in ("email", "ada@example.com", "order", "O-1"), ("crm", "4711"), ("customer", old):
            answer = reader.execute_command("FCALL_RO", "scv_lookup", 1, "scv", *name)
            assert json.loads(answer)["profile"]["customer_id"] == ada


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "scv:active", "g2 2"),
        ("DEL", Keys("g1").profile(customer_id("crm:4711"))),
        ("HSET", Keys("g1").profile(customer_id("crm:4711")), "state", "gone"),
        ("XADD", Keys("g1").feed, "*", "customer", "nobody"),
        ("HGETALL", published_key(customer_id("crm:4711"))),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("SMEMBERS", Keys("g1").lanes("crm:4711")),
        ("GET", Keys("g1").membership("crm:4711")),
        ("HGETALL", Keys("g1").checkpoint(Lane("sales.events", 0))),
        ("GET", Keys("g1").part(Lane("sales.events", 0), "crm:4711")),
        ("FCALL_RO", "scv_load", "1", Keys("g1").checkpoint(Lane("sales.events", 0))),
        ("FCALL", "scv_place", "1", Keys("g1").identifier("crm:4711"), "9", "{}"),
        ("GET", Keys("g1").part(Keys("g1").links, "crm:4711")),
        ("FCALL", "scv_index", "1", Keys("g1").identifier("crm:4711"), "6", "cus_0000000000000000"),
        ("EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", "scv:active"),
    ],
    ids=lambda command: " ".join(command)[:40],
)
def test_the_reader_can_do_nothing_else(command: tuple[str, ...], view: redis.Redis) -> None:
    with reader_of(view) as reader, pytest.raises(redis.exceptions.NoPermissionError):
        reader.execute_command(*command)


def test_every_public_key_of_the_code_is_on_the_page_and_the_others_are_not_offered() -> None:
    text = PAGE.read_text()
    public = {name for name in vars(Keys) if (getattr(Keys, name).__doc__ or "").startswith("Public.")}
    assert public == {"identifier", "reference", "profile", "feed"}
    keys = Keys("g7")
    names = (
        keys.identifier("phone:+4930901820"),
        keys.reference("order:O-8"),
        keys.profile("cus_…"),
        keys.feed,
    )
    for shown in names:
        assert f"`{shown.removeprefix(keys.prefix)}`" in text
