"""Train the dictionary that parts are compressed upon: `python -m ops.part_dictionary` writes it anew.

Do so only together with a new `PARTS_VERSION`: parts compressed upon another dictionary cannot be read.
"""

from __future__ import annotations

import random
import sys
from datetime import UTC, datetime
from pathlib import Path

import zstandard

import stores
from models.dead_letter import Fault
from models.settings import PARTS_VERSION
from ops.population import DEFAULT_SEED, events
from projections.folding import Fold, Projection
from projections.parts import empty, pack
from projections.reducers import Configuration
from stores.packing import DICTIONARY_BYTES
from streams.folder import decode

CUSTOMERS = 600
# So that young parts are learnt from as well as old ones.
KEPT_OF_TEN = 4
END = datetime(2026, 1, 1, tzinfo=UTC)


class _Consumed:
    """A record as a client hands it over."""

    headers = ()

    def __init__(self, key: bytes, value: bytes, timestamp: int) -> None:
        self.key, self.value, self.timestamp = key, value, timestamp


def parts() -> list[bytes]:
    """Parts of a seeded population, at several ages."""
    rng, projection = random.Random(DEFAULT_SEED), Projection(Configuration())
    held, found = {}, []
    for offset, one in enumerate(events(DEFAULT_SEED, CUSTOMERS, END)):
        event = decode(one.topic, _Consumed(one.key, one.value, int(one.at.timestamp() * 1_000)))
        if isinstance(event, Fault):
            continue
        fold = Fold(projection, held.get((one.topic, event.subject)) or empty(), event.subject, one.topic)
        fold.add(event, offset)
        part = held[one.topic, event.subject] = fold.finish()
        if rng.randrange(10) < KEPT_OF_TEN:
            found.append(pack(part))
    return found


def main() -> int:
    """Write the dictionary of today's layout, and say what it saves."""
    samples = parts()
    made = zstandard.train_dictionary(DICTIONARY_BYTES, samples, level=1)
    path = Path(next(iter(stores.__path__))) / f"parts-{PARTS_VERSION}.zdict"
    path.write_bytes(made.as_bytes())
    compress = zstandard.ZstdCompressor(level=1, dict_data=made).compress
    before, after = sum(map(len, samples)), sum(len(compress(one)) for one in samples)
    print(
        f"{path.name}: {len(samples)} parts of {before / len(samples):.0f} bytes, {after / before:.0%} left"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
