"""Settings: where each comes from, which wins, what a wrong one says; and the page has them all."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from models.rules import IdentityRules
from models.settings import CONFIG_VARIABLE, Settings
from ops import cli
from ops.configured import settings_with
from ops.failures import Exit, Failure

PAGE = (Path(__file__).parent.parent / "docs" / "settings.md").read_text()
# Read where they matter, not settings of a worker; the page explains them too.
OTHER_VARIABLES = {CONFIG_VARIABLE, "SCV_TRACE", "SCV_KAFKA_JARS"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test says which variables there are."""
    for name in [name for name in os.environ if name.startswith("SCV_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty TOML file that SCV_CONFIG names."""
    path = tmp_path / "scv.toml"
    path.touch()
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    return path


def test_without_anything_the_defaults_hold() -> None:
    settings = Settings()
    assert (settings.generation, settings.trust, settings.rules) == ("g1", (), None)
    assert settings.identity_rules == IdentityRules()


def test_a_variable_sets_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCV_KAFKA", "kafka-1:9092,kafka-2:9092")
    monkeypatch.setenv("SCV_PARTITIONS", "64")
    monkeypatch.setenv("SCV_SESSION_TIMEOUT_SECONDS", "6.5")
    settings = Settings()
    assert settings.kafka == "kafka-1:9092,kafka-2:9092"
    assert (settings.partitions, settings.session_timeout_seconds) == (64, 6.5)


def test_a_variable_lists_trust_by_commas_and_a_file_as_a_list(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('trust = ["crm", "shop/checkout"]\n')
    assert Settings().trust == ("crm", "shop/checkout")
    monkeypatch.setenv("SCV_TRUST", "billing , crm,")
    assert Settings().trust == ("billing", "crm")
    monkeypatch.setenv("SCV_TRUST", "")
    assert Settings().trust == ()


def test_an_argument_wins_over_a_variable_and_a_variable_over_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('cache_mib = 64\ngeneration = "g2"\npartitions = 4\n')
    monkeypatch.setenv("SCV_CACHE_MIB", "32")
    monkeypatch.setenv("SCV_GENERATION", "g3")
    settings = settings_with(generation="g4", cache_mib=None)
    assert (settings.generation, settings.cache_mib, settings.partitions) == ("g4", 32, 4)


def test_rules_come_from_the_file_that_the_setting_names(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a variable, in the file of settings, and set to nothing as compose files write what is not set."""
    rules = tmp_path / "rules.toml"
    rules.write_text('region = "US"\n')
    monkeypatch.setenv("SCV_RULES", str(rules))
    assert settings_with().identity_rules.region == "US"
    monkeypatch.setenv("SCV_RULES", "")
    assert settings_with().identity_rules.region == "DE"
    monkeypatch.delenv("SCV_RULES")
    config.write_text(f"rules = '{rules}'\n")
    settings = settings_with()
    assert settings.identity_rules.region == "US" and settings.identity_rules is settings.identity_rules


@pytest.mark.parametrize(
    "text, told",
    [
        (None, "no such file"),
        ("region = 'XX'", "region: 'XX'"),
        ("[subjects.crm]\nstrenght = 5", "strength?"),
    ],
)
def test_wrong_rules_are_one_line_before_anything_is_connected_to(
    text: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "rules.toml"
    if text is not None:
        rules.write_text(text)
    monkeypatch.setenv("SCV_RULES", str(rules))
    with pytest.raises(Failure) as failed:
        settings_with()
    assert failed.value.code == Exit.USAGE
    assert told in str(failed.value) and str(failed.value).startswith(f"{rules}: ")
    assert "\n" not in str(failed.value)


def test_a_command_tells_all_mistakes_of_the_rules_a_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("region = 'XX'\n[subjects.crm]\nstrenght = 5\n")
    by_setting = (str(rules), ["inspect", "crm:1"])
    by_option = ("", ["identity", "dry-run", "--rules", str(rules)])
    for setting, arguments in (by_setting, by_option):
        monkeypatch.setenv("SCV_RULES", setting)
        assert cli.run(arguments) == Exit.USAGE
        first, *others = capsys.readouterr().err.splitlines()
        assert first == f"scv: {rules}: 2 mistakes"
        assert [line.split(":")[0] for line in others] == ["  region", "  [subjects.crm] strenght"]


@pytest.mark.parametrize(
    "variable, value, told",
    [
        ("SCV_GENERATION", "7", "SCV_GENERATION"),
        ("SCV_PARTITIONS", "many", "SCV_PARTITIONS"),
        ("SCV_PARTITIONS", "0", "SCV_PARTITIONS"),
        ("SCV_CACHE_MIB", "-1", "SCV_CACHE_MIB"),
        ("SCV_SESSION_TIMEOUT_SECONDS", "soon", "SCV_SESSION_TIMEOUT_SECONDS"),
        ("SCV_TRUST", ",".join(f"s{n}" for n in range(51)), "SCV_TRUST"),
        ("SCV_CONFIG", "/nowhere/scv.toml", "SCV_CONFIG=/nowhere/scv.toml: no such file"),
    ],
)
def test_a_wrong_variable_is_one_line_that_names_it(
    variable: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(Failure) as failed:
        settings_with()
    assert told in str(failed.value) and "\n" not in str(failed.value)


@pytest.mark.parametrize(
    "text, told",
    [
        ("genration = 'g2'", "genration"),
        ("partitions = 'many'", "partitions"),
        ("trust = [1]", "trust"),
        ("partitions = ", "not TOML"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_place(config: Path, text: str, told: str) -> None:
    config.write_text(text)
    with pytest.raises(Failure) as failed:
        settings_with()
    assert told in str(failed.value) and "\n" not in str(failed.value)


def test_a_file_that_is_missing_is_never_taken_for_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, "/nowhere/scv.toml")
    with pytest.raises(FileNotFoundError, match="no such file"):
        Settings()


@pytest.mark.parametrize(
    "change", [{"trust": ("crm",)}, {"trust": ("shop", "crm")}, {"trust": ("crm", "shop")}]
)
def test_what_shapes_parts_gives_another_shape(change: dict[str, Any]) -> None:
    shapes = {Settings(**other).shape for other in [{}, change, {"trust": ("a", "b")}]}
    assert len(shapes) == 3


def test_other_rules_give_another_shape_and_the_same_rules_in_another_file_do_not(tmp_path: Path) -> None:
    shapes = []
    for name, text in (("a", "region = 'US'"), ("b", "# the same\nregion = 'US'"), ("c", "shared_above = 6")):
        (tmp_path / name).write_text(text)
        shapes.append(Settings(rules=tmp_path / name).shape)
    assert shapes[0] == shapes[1]
    assert len({*shapes, Settings().shape}) == 3


def test_what_does_not_shape_parts_keeps_the_shape() -> None:
    elsewhere = Settings(
        kafka="k:1", redis="redis://r", generation="g9", partitions=3, replication=3, cache_mib=9
    )
    assert elsewhere.shape == Settings().shape
    assert re.fullmatch(r"c-[0-9a-f]{4}", Settings().config)


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().generation = "g2"  # type: ignore[misc]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_page_for_operators_explains_every_setting_with_its_default(name: str) -> None:
    info = Settings.model_fields[name]
    section = re.search(rf"^### {name}$(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert section, f"docs/settings.md has no section on {name}"
    default = "empty" if info.default in ((), None) else str(info.default)
    assert f"`SCV_{name.upper()}`" in section[1]
    assert f"Default: `{default}`" in section[1]
    assert info.description is not None
    assert len(section[1].split()) > len(info.description.split()), "say what it means and when to change it"


def test_the_page_names_no_variable_that_there_is_not() -> None:
    known = {f"SCV_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    assert set(re.findall(r"SCV_[A-Z_]*[A-Z]", PAGE)) == known
