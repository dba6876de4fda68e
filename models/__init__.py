"""What flows through scv: records, events, identifiers, the profile, settings, errors.

Invariants:
- Plain data. No clock, no I/O, nothing of ours imported from other rooms.
- Every event type is declared once, as a pydantic model; every other way to read it is derived from that.
"""
