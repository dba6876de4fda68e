"""Read what other systems read: who an identifier belongs to, and profiles. For one Redis or a cluster.

Invariants:
- Never a silent pick: all customers of a name are given, the caller decides what several mean.
- Reads only, and only the active generation unless another is named.
- A tombstone is followed to whoever holds its founder now, and is never given as a customer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import redis

from stores.connection import connect
from stores.keys import ACTIVE, Keys

LIVE = "live"
LINKING = "linking"
# Subjects of one reference that are asked in one round trip. An order has one or two.
SUBJECTS_AT_ONCE = 100
# When a reference has led to so many customers, more would tell a person nothing.
CUSTOMERS_ENOUGH = 20
# Between the writes of one change a tombstone may lead to another; more of them are a store gone back.
HOPS_MAX = 4

_HEAD = ("version", "state", "founder")


class Candidate(NamedTuple):
    """A customer that a name leads to. `status`: linking, rejected or shared.

    `via` is the name; `through` the subject that named it, where it is a reference.
    """

    customer_id: str
    status: str
    via: str
    through: str | None = None


class StoredProfile(NamedTuple):
    """A profile as stored: sections are JSON. In another `state` than live it is a tombstone, without any."""

    customer_id: str
    version: str
    state: str
    founder: str
    sections: dict[str, bytes]


class Followed(NamedTuple):
    """Customer ids, and whom each stands for by now.

    `now` is empty for a customer that is gone, and has the id itself while it lives or its profile is yet to
    come. `stored` has what there is under these ids and those they led to: none for one never heard of.
    """

    now: dict[str, tuple[str, ...]]
    stored: dict[str, StoredProfile]


class GenerationView:
    """Look-ups of one generation."""

    def __init__(self, client: redis.Redis, generation: str) -> None:
        self._client, self.generation, self._keys = client, generation, Keys(generation)

    def candidates(self, names: Sequence[str]) -> dict[str, list[Candidate]]:
        """Per name, `type:value`: the customers of it as an identifier or subject, then as a reference."""
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.get(self._keys.identifier(name))
            pipe.smembers(self._keys.reference(name))
        answers = pipe.execute()
        found: dict[str, list[Candidate]] = {}
        for name, entry, subjects in zip(names, answers[::2], answers[1::2], strict=True):
            found[name] = [Candidate(*one, name) for one in _customers(entry)]
            found[name] += self._through(name, sorted(subject.decode() for subject in subjects))
        return found

    def _through(self, name: str, subjects: Sequence[str]) -> list[Candidate]:
        """The customers of a reference. All subjects are asked, unless the customers are many anyway."""
        found: list[Candidate] = []
        for at in range(0, len(subjects), SUBJECTS_AT_ONCE):
            chunk = subjects[at : at + SUBJECTS_AT_ONCE]
            for subject, customers in zip(chunk, self._entries(chunk), strict=True):
                found += [Candidate(*one, name, subject) for one in customers]
                if len({one.customer_id for one in found}) >= CUSTOMERS_ENOUGH:
                    return found
        return found

    def _entries(self, names: Iterable[str]) -> list[list[tuple[str, str]]]:
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.get(self._keys.identifier(name))
        return [_customers(entry) for entry in pipe.execute()]

    def follow(self, customer_ids: Iterable[str]) -> Followed:
        """Whom these ids stand for: a merged one for the customer that its founder is in now."""
        ids = list(dict.fromkeys(customer_ids))
        stored: dict[str, StoredProfile] = {}
        leads: dict[str, list[str]] = {}
        waiting = ids
        for hops in range(HOPS_MAX + 1):
            heads = self.profiles(waiting, ("summary",))
            stored.update(heads)
            buried = [head for head in heads.values() if head.state != LIVE]
            leads.update((one, [one]) for one in waiting)
            leads.update((one.customer_id, []) for one in buried)
            if not buried or hops == HOPS_MAX:
                break
            entries = self._entries(one.founder for one in buried)
            for one, customers in zip(buried, entries, strict=True):
                leads[one.customer_id] = [other for other, status in customers if status == LINKING]
            waiting = list({other for one in buried for other in leads[one.customer_id]} - leads.keys())
        return Followed({one: tuple(_ends(one, leads)) for one in ids}, stored)

    def profiles(
        self, customer_ids: Sequence[str], sections: Sequence[str] | None = None
    ) -> dict[str, StoredProfile]:
        """Profiles and tombstones, whole or some sections of them; none for ids that nothing is stored of."""
        names = None if sections is None else (*_HEAD, *sections)
        pipe = self._client.pipeline(transaction=False)
        for customer_id in customer_ids:
            key = self._keys.profile(customer_id)
            if names is None:
                pipe.hgetall(key)
            else:
                pipe.hmget(key, *names)
        found = {}
        for customer_id, answer in zip(customer_ids, pipe.execute(), strict=True):
            fields = _named(answer) if names is None else dict(zip(names, answer, strict=True))
            if (profile := _profile(customer_id, fields)) is not None:
                found[customer_id] = profile
        return found


class ProfileReader:
    """Look-ups of the active generation, or of `generation`."""

    def __init__(self, url: str, generation: str | None = None) -> None:
        self._client = connect(url)
        self._generation = generation

    def active_generation(self) -> str | None:
        """The generation that readers see; None before the first worker has run."""
        if self._generation is not None:
            return self._generation
        active: Any = self._client.get(ACTIVE)
        return None if active is None else active.decode().split()[0]

    def view(self) -> GenerationView | None:
        """The generation that readers see now, for several questions to it; None before there is one."""
        generation = self.active_generation()
        return None if generation is None else GenerationView(self._client, generation)

    def candidates(self, kind: str, value: str) -> list[Candidate]:
        """All customers that an identifier, subject or reference (`order:O-8`) belongs to, by customer id."""
        view, name = self.view(), f"{kind}:{value}"
        return [] if view is None else sorted(view.candidates([name])[name], key=lambda one: one.customer_id)

    def profile(self, customer_id: str, sections: Sequence[str] | None = None) -> StoredProfile | None:
        """A customer's profile or tombstone, whole or some sections of it; None when there is none."""
        view = self.view()
        return None if view is None else view.profiles([customer_id], sections).get(customer_id)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


def _customers(entry: bytes | None) -> list[tuple[str, str]]:
    if entry is None:
        return []
    return [(one["customer_id"], one["status"]) for one in msgspec.json.decode(entry)["customers"]]


def _ends(customer_id: str, leads: Mapping[str, list[str]]) -> list[str]:
    """Where the way over tombstones ends. A circle leads nowhere: it is about to be written anew."""
    ends: dict[str, None] = {}
    waiting, seen = [customer_id], {customer_id}
    while waiting:
        one = waiting.pop(0)
        if one in leads[one]:
            ends[one] = None
        for other in leads[one]:
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return list(ends)


def _named(fields: Mapping[bytes, bytes]) -> dict[str, bytes | None]:
    return {name.decode(): value for name, value in fields.items()}


def _profile(customer_id: str, fields: Mapping[str, bytes | None]) -> StoredProfile | None:
    held = {name: value for name, value in fields.items() if value is not None and name != "writer"}
    if "version" not in held:
        return None
    version, state, founder = (held.pop(name).decode() for name in _HEAD)
    return StoredProfile(customer_id, version, state, founder, held)
