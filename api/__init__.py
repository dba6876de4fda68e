"""The read side: who is calling, and what do we know of them; and HTTP, by which others ask and write events.

Invariants:
- Never a silent pick between customers.
- The store is only read here; what is written goes into the log.
"""
