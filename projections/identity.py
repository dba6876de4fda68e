"""Section `identity`: who the customer is, and by which names other systems know them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.bounds import ADDRESSES_MAX, IDENTIFIERS_MAX, RELATED_MAX, SUBJECTS_MAX
from models.decoding import Event
from models.identifiers import customer_id, namespace_of
from models.marketing import ProfileUpdated, RelationshipStated
from projections.instants import instant_or_none, rfc3339
from projections.lists import Identifiers, LatestBy, MostTrustedBy, stated_identifiers
from projections.reducers import Add, Configuration, MostTrusted, Read, State, field
from projections.section import Page, Rendered, Section

NAMES = ("given_name", "family_name", "birthdate", "email", "phone_number", "tier", "locale", "zoneinfo")
_RULE = "most_trusted_then_latest"


class Contact(MostTrusted):
    """An email or phone: from the personal data of a source, else the first such identifier of an event."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__({})
        self.kind, self.name = kind, name

    def adders(self, configuration: Configuration) -> dict[str, Add]:
        kind, rules, profile_field = self.kind, configuration.rules, field(self.name)

        def of_profile(event: Event) -> str | None:
            value = profile_field(event)
            return None if value is None else rules.normalise(kind, value, namespace_of(event.subject))

        begins = f"{kind}:"

        def of_identifiers(event: Event) -> str | None:
            for name, _ in stated_identifiers(event, rules):
                if name.startswith(begins):
                    return name[len(begins) :]
            return None

        reads: dict[Any, Read] = {ProfileUpdated: of_profile, None: of_identifiers}
        return dict(MostTrusted(reads).adders(configuration))


def _address(event: Event) -> tuple[str, list[Any]] | None:
    address = event.data.address
    if address is None:
        return None
    return address.use, [address.street_address, address.postal_code, address.locality, address.country]


def _relation(event: Event) -> list[tuple[str, list[Any]]]:
    return [(f"{event.data.kind}:{event.data.other_subject}", [])]


class Identity(Section):
    """Names, contacts, addresses, identifiers, relations."""

    name = "identity"

    given_name = MostTrusted({ProfileUpdated: field("given_name")})
    family_name = MostTrusted({ProfileUpdated: field("family_name")})
    birthdate = MostTrusted({ProfileUpdated: field("birthdate")})
    email = Contact("email", "email")
    phone_number = Contact("phone", "phone_number")
    tier = MostTrusted({ProfileUpdated: field("tier")})
    locale = MostTrusted({ProfileUpdated: field("locale")})
    zoneinfo = MostTrusted({ProfileUpdated: field("zoneinfo")})
    addresses = MostTrustedBy(_address, ProfileUpdated)
    identifiers = Identifiers()
    related = LatestBy(_relation, RelationshipStated, kept=2 * RELATED_MAX)

    @classmethod
    def attributed(cls, states: list[State], subject: str) -> list[State]:
        states = list(states)
        states[IDENTIFIERS] = Identifiers.attributed(states[IDENTIFIERS], subject)
        return states

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        held = {name: states[name] for name in NAMES}
        values = {name: None if state is None else state[4] for name, state in held.items()}
        shown = ("given_name", "family_name", "birthdate", "email", "phone_number")
        document: dict[str, Any] = {name: values[name] for name in shown}
        document["provenance"] = {
            name: {"source": state[2], "event_id": state[3], "occurred_at": rfc3339(state[1]), "rule": _RULE}
            for name, state in held.items()
            if state is not None
        }
        document["addresses"] = _addresses(states["addresses"], page)
        document["subjects"] = []
        document["identifiers"] = _identifiers(states["identifiers"], page)
        document["related"] = page.newest("related", states["related"], RELATED_MAX, _related)
        return Rendered(document, page.truncated, values)


def as_placed(
    rendered: Rendered, statuses: Mapping[str, str], related: Sequence[tuple[str, str]]
) -> Rendered:
    """The section with what the identity graph says: which identifiers do not link, and possible matches."""
    document = dict(rendered.document)
    document["identifiers"] = [
        {**one, "status": statuses.get(f"{one['type']}:{one['value']}", one["status"])}
        for one in document["identifiers"]
    ]
    matches = [
        {"customer_id": customer_id(founder), "relation": "possible_match", "via": via}
        for founder, via in related
    ]
    truncated = list(rendered.truncated)
    shown = [*document["related"], *matches]
    if len(shown) > RELATED_MAX and "identity.related" not in truncated:
        truncated.append("identity.related")
    document["related"] = shown[:RELATED_MAX]
    return Rendered(document, truncated, rendered.facts)


# Where the identifiers stand among the section's states.
IDENTIFIERS = list(Identity.reducers).index("identifiers")


def _addresses(state: State, page: Page) -> list[dict[str, Any]]:
    named = sorted(state.items())
    named.sort(key=lambda item: item[1][1:4], reverse=True)
    names = ("street_address", "postal_code", "locality", "country")
    return [
        {"use": use, **dict(zip(names, held[4:], strict=True))}
        for use, held in page.cut("addresses", named, ADDRESSES_MAX)
    ]


def _identifiers(state: State, page: Page) -> list[dict[str, Any]]:
    listed = sorted((held[0], *name.split(":", 1), held) for name, held in state[1].items())
    return [
        {
            "type": kind,
            "value": value,
            "status": "linking",
            "verified_at": instant_or_none(held[1]),
            "sources": held[2][:SUBJECTS_MAX],
            "first_seen_at": rfc3339(seen_us),
        }
        for seen_us, kind, value, held in page.cut("identifiers", listed, IDENTIFIERS_MAX, state[0])
    ]


def _related(name: str, _: list[Any]) -> dict[str, Any]:
    kind, other = name.split(":", 1)
    return {"customer_id": customer_id(other), "relation": kind, "via": "stated"}
