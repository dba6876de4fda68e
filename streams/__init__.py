"""The worker: lanes read through Faust, folded by one thread, assembled into profiles.

Guarantees:
- What is folded and committed depends on the log and the store, never on what Kafka remembers of the group.
"""
