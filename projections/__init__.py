"""Pure functions: reducers, sections, the fold of a part, the merge and the derived profile.

Invariants:
- No clock, no randomness, no I/O: the same records give the same bytes, on any machine, at any time.
- Nothing here knows of Redis, Kafka or a worker.
"""
