"""How parts lie in Redis: compressed upon a dictionary that knows what parts look like, unless they are tiny.

Invariants:
- What is unpacked is what was packed, byte for byte.
- The dictionary belongs to the layout of parts, `PARTS_VERSION`: another one is another generation.
- One thread uses a `Packing`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import zstandard

from models.settings import PARTS_VERSION

# Below this, what a frame costs by itself eats up what it saves; nodes of the graph mostly are.
PLAIN_BYTES_MAX = 200
# Of an earlier layout it left 18.3 % of 8,233 parts; one twice as long 18.0, one half as long 18.5.
DICTIONARY_BYTES = 16 * 1024
# A part has bounded lists only: far above any, far below what would hurt.
PART_BYTES_MAX = 64 * 1024 * 1024
LEVEL = 1
# How a compressed frame begins; nothing that is packed plainly does, since all of it is a MessagePack array.
_MAGIC = zstandard.FRAME_HEADER


@cache
def dictionary() -> zstandard.ZstdCompressionDict:
    """The dictionary of this layout."""
    name = f"parts-{PARTS_VERSION}.zdict"
    return zstandard.ZstdCompressionDict(files("stores").joinpath(name).read_bytes())


class Packing:
    """Packs and unpacks for one store."""

    def __init__(self) -> None:
        self._compress = zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary()).compress
        self._decompress = zstandard.ZstdDecompressor(dict_data=dictionary()).decompress

    def pack(self, part: bytes) -> bytes:
        """The bytes for the store."""
        return part if len(part) <= PLAIN_BYTES_MAX else self._compress(part)

    def unpack(self, stored: bytes) -> bytes:
        """The part of stored bytes. zstandard.ZstdError when they were changed by hand."""
        if not stored.startswith(_MAGIC):
            return stored
        return self._decompress(stored, max_output_size=PART_BYTES_MAX)
