"""A seeded simulator of faults: the worker's real steps on a log and a store that exist in memory only.

Guarantees:
- A seed gives the same run every time, on every machine: no clock, no threads, no hash order.
- Nothing of the worker is replaced: what runs is `streams.routing.RoutingWorker` of `FoldingWorker` and
  `IdentityWriter`, each on a store of its own that passes the contract test of the real one.

`python -m tests.simulation.run --seeds 0..100000` runs a campaign; `--seeds 4711 --trace` tells one run.

`store` and `log` are what the workers use, `faults` decides what goes wrong where, `world` lets several
workers (`actors`) share lanes and take turns, `cases` makes histories (`people` those of who is who) with
what must be readable in the end (`expected`). `watch` says what must hold at every moment, `verdict` what in
the end; `heard` is the graph that a run's own link log makes. `scenes` and `graph_scenes` are worlds for
tests written by hand, `mutants` and `graph_mutants` what the simulator must catch.
"""
