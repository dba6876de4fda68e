"""Write the JSON Schemas and the AsyncAPI document of the models into a directory, or say how it differs.

Guarantees:
- `write` leaves exactly what the models make there: a schema that no model makes any more is removed.
- `check` changes nothing. `python -m ops.schemas --check` exits with 3 when something differs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from models.asyncapi import document_text
from models.schemas import files as schema_files

DIRECTORY = Path(__file__).resolve().parent.parent / "schemas"
# The exit code of every `scv` command that found differences.
DIFFERENCES_FOUND = 3


def files() -> dict[str, str]:
    """The text of every file by its path, in order of the paths."""
    return dict(sorted({**schema_files(), "asyncapi.yaml": document_text()}.items()))


def check(directory: Path) -> list[str]:
    """One line for each file that is missing, differs or has no model; empty when all agree."""
    return _differences(directory, files())


def _differences(directory: Path, expected: Mapping[str, str]) -> list[str]:
    differences = [
        f"{name}: no model makes this schema" for name in _present(directory) if name not in expected
    ]
    for name, text in expected.items():
        path = directory / name
        if not path.is_file():
            differences.append(f"{name}: missing")
        elif path.read_bytes() != text.encode():
            differences.append(f"{name}: differs from the models")
    return sorted(differences)


def write(directory: Path) -> list[str]:
    """Make `directory` hold exactly the schemas; returns the differences there were."""
    expected = files()
    differences = _differences(directory, expected)
    for name in _present(directory):
        if name not in expected:
            (directory / name).unlink()
    for name, text in expected.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return differences


def _present(directory: Path) -> list[str]:
    paths = [path for kind in ("*.json", "*.yaml") for path in directory.rglob(kind)]
    return sorted(path.relative_to(directory).as_posix() for path in paths)


def main(arguments: list[str]) -> int:
    """Write the schemas beside the code, or compare them with `--check`. Returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("python -m ops.schemas: takes nothing, or --check", file=sys.stderr)
        return 2
    differences = check(DIRECTORY) if arguments else write(DIRECTORY)
    for line in differences:
        print(f"schemas/{line}" + ("; run `python -m ops.schemas`" if arguments else ", now written"))
    return DIFFERENCES_FOUND if arguments and differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
