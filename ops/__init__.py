"""The `scv` command line: everything that a person does with scv from a terminal.

Invariants:
- A command ends with one of the codes of `ops.failures.Exit`; an error is one line on stderr, never a stack trace.
- `scv --help` imports neither Faust nor Kafka nor Redis clients: each command imports what it needs when it runs.
"""
