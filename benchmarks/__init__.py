"""What scv costs: throughput, latency, memory and bytes, measured on the machine at hand, beside others.

Guarantees:
- Contenders fold the same records, on the same broker and the same store, in one run, taking turns.
- What a contender gave is looked at: a run with wrong or missing profiles is an error, not a figure.
- A result says what it was measured with: versions, processor, and how busy the machine was.

docs/performance.md says how to run and read it.
"""
