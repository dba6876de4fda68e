"""Redis: keys, guarded commits, profiles, indexes, and what reads them.

Invariants:
- What changes together shares a hash tag and changes in one function call.
- Nothing here that the log could not give back.
"""
