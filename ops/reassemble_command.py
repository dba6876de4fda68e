"""`scv reassemble`: all profiles derived again, after a change of settings that shape no parts.

Invariants:
- Without --execute nothing is changed.
- Stopped or killed, it can be begun again, and does only what is left.
- Subscribers are told when all is done: the generation is promoted anew, so that publishers publish everybody
  with a greater version. That this is owed, the store remembers.
"""

from __future__ import annotations

import time
from typing import Any

from models.settings import Settings
from ops.answers import say, say_json
from ops.configured import login
from ops.failures import Exit, Failure
from ops.progress import Progress
from ops.sweep_command import settings_of_active


def run_reassemble(
    *,
    kafka: str | None,
    redis: str | None,
    generation: str | None,
    throttle: int | None,
    execute: bool,
    as_json: bool,
) -> int:
    """`scv reassemble`; exit code 6 when workers derive by other settings."""
    from eventlog.producing import LogProducer
    from stores.connection import connect
    from streams.reassemble import RewritingStore, derived_otherwise, reassemble
    from streams.rebuild import assembler_of

    settings = settings_of_active(kafka, redis, generation)
    client = connect(settings.redis, 30.0)
    store = RewritingStore(settings.redis, settings.generation, settings.identity_rules.shared_above)
    owed, promotion = store.keys.reassembling, None
    seen = found = done = left = 0
    began = time.monotonic()
    label = f"{settings.generation} {'reassembling' if execute else 'looking'}"
    try:
        store.prepare()
        with (
            LogProducer(settings.kafka, client_id="scv-reassemble", linger_ms=20) as outlet,
            Progress(label, 1, "customers", quiet=as_json) as progress,
        ):
            assembler = assembler_of(settings, store, outlet)
            for seen, founders in derived_otherwise(client, store, settings.config):
                found += len(founders)
                if execute and founders:
                    client.set(owed, settings.config)
                    done += reassemble(assembler, founders)
                    _keep_to(throttle, done, began)
                progress.grow(seen + 1)
                progress.update(seen)
        if execute:
            left = sum(len(some) for _, some in derived_otherwise(client, store, settings.config))
            promotion = None if left else _tell(settings, client, owed)
    except KeyboardInterrupt:
        raise Failure(
            Exit.INTERRUPTED, f"stopped after {done:,} customers; to go on: scv reassemble --execute"
        ) from None
    finally:
        store.close()
        client.close()
    told = {
        "otherwise": found,
        "reassembled": done,
        "left": left,
        "executed": execute,
        "promotion": promotion,
    }
    if as_json:
        say_json({"generation": settings.generation, "config": settings.config, "profiles": seen, **told})
    else:
        _say(settings, (seen, found, left), promotion, execute=execute)
    return Exit.PARTLY if left else Exit.OK


def _tell(settings: Settings, client: Any, owed: str) -> int | None:
    """Have everybody published again, if that is owed; the number by which.

    None also of a generation that readers do not see: its own promotion will tell.
    """
    from eventlog.promotions import promote_anew
    from stores.promotion import open_pointer

    if not client.exists(owed):
        return None
    generation, number = settings.generation, None
    with open_pointer(settings.redis) as pointer:
        active = pointer.read()
        if active is not None and active.generation == generation:
            who, why = login() or "unknown", f"scv reassemble: derived as {settings.config}"
            number = promote_anew(settings.kafka, pointer, generation, actor=who, reason=why).number
    client.delete(owed)
    return number


def _keep_to(throttle: int | None, done: int, began: float) -> None:
    if throttle is not None:
        time.sleep(max(0.0, done / throttle - (time.monotonic() - began)))


def _say(settings: Settings, counts: tuple[int, int, int], promotion: int | None, *, execute: bool) -> None:
    generation, config = settings.generation, settings.config
    seen, found, left = counts
    if not execute:
        say(f"{found:,} of {seen:,} profiles of {generation} were derived by other settings than {config}.")
        say("Nothing has been changed. With --execute they are derived again.")
    elif left:
        say(f"{left:,} profiles are still derived otherwise: do workers of {generation} use {config}?")
    else:
        say(f"{found:,} profiles of {generation} were derived again; all show {config}.")
    if promotion is not None:
        say(f"Publishers publish everybody again, as of promotion {promotion}.")
