"""The house checks itself: what linters cannot know of how scv is written.

Style, docstrings, prints and commented-out code (ruff), who may import whom (import-linter), types (mypy) and
schemas are looked after by `make lint`, once.
"""

import ast
import importlib
import inspect
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from ops.cli import app

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

ROOMS = ("models", "projections", "stores", "eventlog", "streams", "api", "ops")
FOLDERS = {*ROOMS, "tests", "benchmarks", "docs", "schemas", "data"}

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400
DECISION_LINES_MAX = 70

# Names that say nothing of what is inside.
FORBIDDEN_NAMES = {
    "base",
    "common",
    "core",
    "helper",
    "helpers",
    "manager",
    "misc",
    "shared",
    "util",
    "utils",
}
# Written so that these lines do not find themselves.
LEFTOVERS = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")
# The user of our container is named scv.
MACHINE_PATHS = re.compile(r"(?<![\w.~}])/(work|root|farm|Users|home(?!/scv\b))/\w")
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs\.org|repo1?\.maven|proxy\.golang\.org"
    r"|https?://[a-z0-9.-]+/(simple|packages|maven2|debian)/"
)
TEXT_SUFFIXES = {".py", ".md", ".toml", ".lua", ".txt", ".yml", ".yaml", ".xml", ".json", ".sh", ""}


@cache
def files() -> tuple[Path, ...]:
    """Every file that is, or would be, committed."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.split("\0")  # fmt: skip
        found = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        # An unpacked archive, or no git: everything but what tools leave behind.
        found = [path for path in ROOT.rglob("*") if not _left_by_tools(path.relative_to(ROOT))]
    return tuple(sorted(path for path in found if path.is_file()))


def _left_by_tools(path: Path) -> bool:
    return any(
        part.startswith(".") or part in ("__pycache__", "build", "dist") or part.endswith(".egg-info")
        for part in path.parts
    )


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules() -> list[Path]:
    return [path for path in files() if path.suffix == ".py"]


def pages() -> list[Path]:
    return [path for path in files() if path.suffix == ".md"]


def texts() -> Iterator[tuple[Path, str]]:
    for path in files():
        if path.suffix in TEXT_SUFFIXES:
            yield path, path.read_text(errors="replace")


def long_functions(source: str) -> list[str]:
    """The functions of a module that are too long, docstrings included."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        # From `def` on: the cases of a parametrized test are a table, not its length.
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > FUNCTION_LINES_MAX:
            found.append(f"{node.name}: {length} lines")
    return found


def identifiers(source: str) -> set[str]:
    """Every name that a module gives to something: functions, classes, arguments, variables."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.arg():
                found.add(node.arg)
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
    return found


def words(identifier: str) -> set[str]:
    """The words of `an_identifier` or `AnotherOne`, in lower case."""
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", identifier).lower().split("_"))


def headings(page: str) -> set[str]:
    """The anchors of a page, as web pages make them."""
    titles = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_checks_see_what_they_are_for() -> None:
    body = "\n".join("    x = 1" for _ in range(FUNCTION_LINES_MAX))
    assert long_functions(f"def f():\n{body}\n") == [f"f: {FUNCTION_LINES_MAX + 1} lines"]
    assert words("partCache_of") == {"part", "cache", "of"}
    assert identifiers("def f(a):\n b = a") == {"f", "a", "b"}
    assert headings("# A `key`, here") == {"a-key-here"}
    for folder in ("work", "home"):
        assert MACHINE_PATHS.search(f"see /{folder}/ada")
    assert REGISTRIES.search("https://mirror.example/{}/redis".format("simple"))


def test_every_module_opens_with_what_it_guarantees() -> None:
    assert [named(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_functions_and_files_stay_short() -> None:
    too_long = [f"{named(path)}: {one}" for path in modules() for one in long_functions(path.read_text())]
    for path in files():
        if path.suffix in (".py", ".lua") and (lines := len(path.read_text().splitlines())) > FILE_LINES_MAX:
            too_long.append(f"{named(path)}: {lines} lines")
    assert too_long == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [
        named(path) for path in files() if FORBIDDEN_NAMES & set(re.split(r"[._-]", path.stem.lower()))
    ] == []


@pytest.mark.parametrize("room", ROOMS)
def test_whatever_is_public_says_what_it_is(room: str) -> None:
    """Where ruff asks every function, this lets a method have the words of the method that it overrides."""
    silent: list[str] = []
    for path in (ROOT / room).rglob("*.py"):
        inner = path.relative_to(ROOT).with_suffix("").parts
        module = importlib.import_module(".".join(inner).removesuffix(".__init__"))
        for name, one in vars(module).items():
            if not name.startswith("_") and getattr(one, "__module__", None) == module.__name__:
                silent += [f"{named(path)}: {what}" for what in _undocumented(name, one)]
    assert silent == []


def _undocumented(name: str, one: object) -> Iterator[str]:
    if inspect.isfunction(one) and not inspect.getdoc(one):
        yield name
    if inspect.isclass(one):
        if not one.__doc__:
            yield name
        for method, member in vars(one).items():
            what = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if (
                not method.startswith("_")
                and inspect.isfunction(what)
                and not inspect.getdoc(getattr(one, method))
            ):
                yield f"{name}.{method}"


def test_nothing_is_left_to_do() -> None:
    assert [
        f"{named(path)}: {found[0]}"
        for path, text in texts()
        if path.suffix != ".json" and (found := LEFTOVERS.search(text))
    ] == []


def test_no_file_names_a_path_of_a_machine_or_a_registry() -> None:
    assert [
        f"{named(path)}: {found[0]}"
        for path, text in texts()
        for pattern in (MACHINE_PATHS, REGISTRIES)
        if (found := pattern.search(text))
    ] == []


def test_the_folders_are_the_known_rooms() -> None:
    present = {path.relative_to(ROOT).parts[0] for path in files() if len(path.relative_to(ROOT).parts) > 1}
    assert {name for name in present if not name.startswith(".")} == FOLDERS
    packages = {name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}
    assert packages == set(ROOMS)


def test_the_layers_name_every_room() -> None:
    (layers,) = [
        one["layers"] for one in PROJECT["tool"]["importlinter"]["contracts"] if one["type"] == "layers"
    ]
    assert {room.strip() for layer in layers for room in layer.split("|")} == set(ROOMS)


def test_constraints_are_names_and_versions_of_everything_declared() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    pinned = {_canonical(line.partition("==")[0]) for line in lines}
    project = PROJECT["project"]
    declared = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    assert {_canonical(re.split(r"[\[<>=~! ]", one)[0]) for one in declared} <= pinned


def _canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def glossary() -> list[tuple[str, str]]:
    """The terms and what is said of them."""
    text = (ROOT / "docs" / "glossary.md").read_text()
    return re.findall(r"^- \*\*(.+?)\*\*: (.+(?:\n  .+)*)", text, re.MULTILINE)


def test_the_glossary_is_in_order_and_has_no_term_that_nobody_uses() -> None:
    terms = [term for term, _ in glossary()]
    assert terms == sorted(set(terms))
    elsewhere = "\n".join(
        text.lower() for path, text in texts() if path.name != "glossary.md" and path.suffix != ".json"
    )
    assert [term for term in terms if not re.search(rf"\b{term.replace(' ', '[ _-]')}", elsewhere)] == []


def test_terms_in_italics_and_cross_references_are_in_the_glossary() -> None:
    terms = {term for term, _ in glossary()}
    used = [ROOT / "README.md", *(ROOT / "docs" / "decisions").glob("*.md")]
    italic = {
        word.lower()
        for path in used
        for word in re.findall(r"(?<!\*)\*([A-Za-z]+(?: [a-z]+)?)\*(?!\*)", path.read_text())
    }
    referred = {word for _, said in glossary() for word in re.findall(r"See ([a-z ]+)\.", said)}
    assert italic | referred <= terms


def test_one_word_for_one_thing() -> None:
    """Words that the glossary turns down are no names in the code."""
    refused = {
        word.strip().lower()
        for _, said in glossary()
        for listed in re.findall(r"Not: ([^.]+)\.", said)
        for word in listed.split(",")
    }
    assert len(refused) > 5
    found = [
        f"{named(path)}: {identifier}"
        for path in modules()
        if path.relative_to(ROOT).parts[0] in ROOMS
        for identifier in identifiers(path.read_text())
        if refused & words(identifier)
    ]
    assert found == []


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=lambda page: page.stem[:4]
)
def test_a_decision_is_one_page_whose_title_is_a_sentence(page: Path) -> None:
    lines = page.read_text().splitlines()
    title = lines[0].removeprefix("# ")
    assert lines[0].startswith("# ")
    assert len(title.split()) >= 4
    assert title[0].isupper()
    assert not title.endswith(".")
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower())
    number, _, name = page.stem.partition("-")
    assert re.fullmatch(r"\d{4}", number)
    assert name in slug
    assert len(lines) <= DECISION_LINES_MAX


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if target.startswith(("https://", "http://")):
                continue
            name, _, anchor = target.partition("#")
            there = (page.parent / name).resolve() if name else page
            if not there.exists() or (anchor and anchor not in headings(there.read_text())):
                broken.append(f"{named(page)}: {target}")
    assert broken == []


def test_pages_name_commands_that_exist() -> None:
    """In shell examples of all pages: subcommands of `scv`, and targets of `make`."""
    commands = {
        command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands
    }
    commands |= {group.name for group in app.registered_groups}
    assert commands == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    unknown = []
    for page in pages():
        examples = re.findall(r"^```(?:sh|console)?\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        for example in examples:
            called = re.findall(r"^(?:\$ )?(?:SCV_\S+ )*scv ([a-z-]+)", example, re.MULTILINE)
            made = re.findall(r"^(?:\$ )?make ([a-z]+)", example, re.MULTILINE)
            unknown += [f"{named(page)}: scv {one}" for one in called if one not in commands]
            unknown += [f"{named(page)}: make {one}" for one in made if one not in targets]
    assert unknown == []
