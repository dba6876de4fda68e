"""The read side: who is calling, and what do we know of them. HTTP will stand on the same functions.

Invariants:
- Reads only; never a silent pick between customers.
"""
