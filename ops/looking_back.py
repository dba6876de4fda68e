"""`scv inspect` with a time, a field or two times: looking back, explaining, comparing.

Invariants:
- Everything is replayed from the customer's own records in the log; nothing is written.
- Never a silent pick: who several names lead to is listed, as `scv inspect` does.
- A generation built with other settings than these is refused: its replay would be another's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ops.answers import say, say_json, show, width
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.inspecting import nobody, only, sections_of, tell_candidates, tell_names
from ops.told import tell_differences, tell_explained

if TYPE_CHECKING:
    from api.lookup import Answer
    from api.replaying import Replayed, Replayer, Show
    from models.settings import Settings
    from projections.replay import Point

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Times(NamedTuple):
    """What was asked for; each an instant in microseconds, None where it was not."""

    as_of_us: int | None
    known_us: int | None
    diff_us: tuple[int, int] | None

    @classmethod
    def parse(cls, as_of: str | None, known_at: str | None, diff: tuple[str, str] | None) -> Times:
        """The instants of the options. Failure."""
        pair = None if diff is None else (_instant("--diff", diff[0]), _instant("--diff", diff[1]))
        if pair is not None and as_of is not None:
            raise Failure(Exit.USAGE, "--diff compares two times by when events occurred; leave --as-of out")
        return cls(_instant("--as-of", as_of), _instant("--known-at", known_at), pair)  # type: ignore[arg-type]


def run_looking_back(
    names: Sequence[str],
    times: Times,
    *,
    explain: str | None,
    sections: str | None,
    settings: Settings,
    generation: str | None,
    as_json: bool,
) -> int:
    """Replay the customer that `names` lead to."""
    from api.lookup import lookup
    from projections.explaining import NoSuchField, field_path
    from projections.past import TooManyStating
    from stores.reading import ProfileReader

    wanted = sections_of(sections)
    if explain is not None:
        try:
            field_path(explain)
        except NoSuchField as wrong:
            raise Failure(Exit.USAGE, f"--explain {explain}: {wrong}") from None
    reader = ProfileReader(settings.redis, generation)
    try:
        answer = lookup(reader, names, settings.identity_rules, ("summary",))
        active = reader.active_generation()
    finally:
        reader.close()
    if answer.match != "single" or answer.profile is None or active is None:
        return _nobody_single(names, answer, active, settings, as_json=as_json)
    with opened(settings, active) as replayer:
        subject = _anchor(replayer, names, answer.profile["founder"])
        try:
            if explain is not None:
                return _explain(replayer, subject, explain, times, as_json=as_json)
            if times.diff_us is not None:
                return _diff(replayer, subject, times, wanted, as_json=as_json)
            return _show(replayer, subject, times, answer, wanted, as_json=as_json)
        except TooManyStating as many:
            raise Failure(Exit.REFUSED, f"{many}; who stated it then takes too long to find out") from None


def opened(settings: Settings, generation: str) -> Replayer:
    """A replayer of this generation. Failure when other settings have built it."""
    from api.replaying import Installation, Replayer
    from stores.connection import connect
    from stores.keys import Keys

    client: Any = connect(settings.redis)
    try:
        shape = client.get(Keys(generation).shape)
    finally:
        client.close()
    if shape is None:
        raise Failure(
            Exit.NOT_FOUND, f"there is no generation {generation}; `scv rebuild status` lists what there is"
        )
    if shape.decode() != settings.shape:
        raise Failure(
            Exit.REFUSED,
            f"generation {generation} was built with other settings or projections (shape {shape.decode()}, "
            f"here {settings.shape}); a replay would differ: set SCV_RULES and SCV_TRUST as its workers do",
        )
    return Replayer(
        Installation(
            settings.kafka,
            settings.redis,
            generation,
            settings.identity_rules,
            settings.trust,
            settings.config,
        )
    )


def scanning(quiet: bool) -> Show:
    """Shows how far a scan is, once there is one."""
    from ops.progress import Progress

    shown: list[Progress] = []

    def update(done: int, total: int) -> None:
        if not shown:
            shown.append(Progress("reading whole lanes", total, "records", quiet=quiet).__enter__())
        shown[0].update(done)
        if done + 1 >= total:
            shown[0].__exit__(None, None, None)

    return update


def _instant(option: str, text: str | None) -> int | None:
    from projections.instants import instant_of

    if text is None:
        return None
    if text == "now":
        return (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1)
    try:
        return instant_of(text)
    except ValueError:
        raise Failure(
            Exit.USAGE,
            f"{option} {text!r} is no instant: 2026-03-01T10:00:00Z, 2026-03-01 (its midnight, UTC) or now",
        ) from None


def _nobody_single(
    names: Sequence[str], answer: Answer, active: str | None, settings: Settings, *, as_json: bool
) -> int:
    if as_json:
        say_json(answer._replace(profile=None)._asdict())
        return Exit.NOT_FOUND if answer.match == "none" else Exit.OK
    if answer.match == "none":
        raise Failure(Exit.NOT_FOUND, f"{settings.redis_shown}: {nobody(names, answer, active)}")
    tell_candidates(names, answer.candidates)
    return Exit.OK


def _anchor(replayer: Replayer, names: Sequence[str], founder: str) -> str:
    """Whose customer is meant at an earlier time: the subject that was named, else today's founder."""
    members = replayer.whom(founder).members
    return next((name for name in names if name in members), founder)


def _show(
    replayer: Replayer,
    subject: str,
    times: Times,
    answer: Answer,
    wanted: tuple[str, ...] | None,
    *,
    as_json: bool,
) -> int:
    from ops.portrait import portrait

    point = _point(times)
    replayed = replayer.replay(subject, point, show=scanning(quiet=as_json))
    profile = only(document_of(replayed), wanted)
    apart = [] if point.known_us is None else apart_then(replayer, subject, replayed, point.known_us)
    if as_json:
        told = {**answer._asdict(), "profile": profile, **_about(times, replayed), "apart": apart}
        say_json(told)
        return Exit.OK if profile is not None else Exit.NOT_FOUND
    if profile is None:
        raise Failure(Exit.NOT_FOUND, f"{subject}: nothing {_had(times)} by then")
    then = point.as_of_us if point.as_of_us is not None else point.known_us
    at = (_EPOCH + timedelta(microseconds=then or 0)).astimezone()
    show(portrait(profile, at, width()))
    say(f"Replayed from {replayed.record_count:,} records: {_told(times)}.")
    for one in apart:
        say(f"A customer of its own then: {one['customer_id']} ({', '.join(one['members'])}).")
    tell_names(answer)
    return Exit.OK


def apart_then(replayer: Replayer, subject: str, replayed: Replayed, known_us: int) -> list[dict[str, Any]]:
    """The other customers that today's members were in then."""
    from models.identifiers import customer_id

    others = [one for one in replayer.whom(subject).members if one not in replayed.whom.members]
    found = {one.founder: one.members for one in replayer.placements(others, known_us) if one is not None}
    return [
        {"customer_id": customer_id(founder), "founder": founder, "members": list(members)}
        for founder, members in sorted(found.items())
    ]


def _point(times: Times) -> Point:
    from projections.replay import Point

    return Point(times.as_of_us, times.known_us)


def document_of(replayed: Replayed) -> dict[str, Any] | None:
    """The profile as profile.json has it."""
    import msgspec

    from projections.assembling import document

    made = replayed.profile
    if made is None:
        return None
    sections = {name: msgspec.json.decode(section) for name, section in made.sections.items()}
    return document(made.customer_id, made.founder, sections)


def _about(times: Times, replayed: Replayed) -> dict[str, Any]:
    from projections.instants import instant_or_none

    return {
        "as_of": instant_or_none(times.as_of_us),
        "known_at": instant_or_none(times.known_us),
        "record_count": replayed.record_count,
        "members": list(replayed.whom.members),
    }


def _had(times: Times) -> str:
    return "was known of it" if times.known_us is not None else "had occurred"


def _told(times: Times) -> str:
    from projections.instants import rfc3339

    told = []
    if times.as_of_us is not None:
        told.append(f"what had occurred by {rfc3339(times.as_of_us)}")
    if times.known_us is not None:
        told.append(f"as it was known at {rfc3339(times.known_us)}")
    return ", ".join(told)


def _diff(
    replayer: Replayer, subject: str, times: Times, wanted: tuple[str, ...] | None, *, as_json: bool
) -> int:
    from projections.differing import differences
    from projections.instants import rfc3339
    from projections.replay import Point

    assert times.diff_us is not None
    found = []
    for at_us in times.diff_us:
        replayed = replayer.replay(subject, Point(at_us, times.known_us), show=scanning(quiet=as_json))
        made = only(document_of(replayed), wanted) or {}
        found.append({name: value for name, value in made.items() if name != "meta"})
    differing = differences(*found)
    if as_json:
        first, second = map(rfc3339, times.diff_us)
        say_json(
            {
                "subject": subject,
                "from": first,
                "to": second,
                "differences": [one._asdict() for one in differing],
            }
        )
    else:
        tell_differences(differing, *map(rfc3339, times.diff_us))
    return Exit.DIFFERENCES if differing else Exit.OK


def _explain(replayer: Replayer, subject: str, field: str, times: Times, *, as_json: bool) -> int:
    from api.explained import explained_document
    from projections.explaining import NoSuchField

    try:
        whom, explained = replayer.explain(subject, field, _point(times), show=scanning(quiet=as_json))
    except NoSuchField as wrong:
        raise Failure(Exit.USAGE, f"--explain {field}: {wrong}") from None
    if not explained.event_count:
        raise Failure(Exit.NOT_FOUND, f"{subject}: nothing {_had(times)} by then")
    document = explained_document(whom, field, explained, sys.maxsize)
    if as_json:
        say_json(document)
        return Exit.OK
    tell_explained(document)
    return Exit.OK


def settings_for(kafka: str | None, redis: str | None, generation: str | None) -> Settings:
    """The settings of a command that replays."""
    return settings_with(kafka=kafka, redis=redis, generation=generation)
