"""The `scv` command line: everything that a person does with scv from a terminal.

Invariants:
- A command ends with one of the codes of `ops.failures.Exit`; an error is one line on stderr, no stack trace.
- `scv --help` imports no client of Kafka or Redis: each command imports what it needs when it runs.
"""
