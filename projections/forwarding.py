"""From a command on `identity.commands` to the link fact that the graph hears.

Invariants:
- Pairs are named as the graph names nodes: identifiers in their normal form, subjects as they are written.
- An actor has one spelling, so that nobody is a program here and a person there.
- A value that says nothing about a person (blocked) links nobody: no fact.
"""

from __future__ import annotations

from models.commands import Link, Unlink, Verify
from models.dead_letter import Fault, Reason
from models.decoding import Event
from models.identifiers import CUSTOMER_NAMESPACE, REFERENCE_TYPES, namespace_of
from models.link import LinkFact, actor_name
from models.rules import IdentityRules

_PAIRS = {Link.wire_type: "link", Unlink.wire_type: "unlink"}


def fact_of(event: Event, lane: str, offset: int, rules: IdentityRules) -> LinkFact | Fault | None:
    """The fact of a command read at this offset; None for one that the graph has nothing to hear of.

    A fault when what it calls its subject is an identifier (two identifiers are nobody's), and when either
    name is a reference's or a customer's.
    """
    data = event.data
    kind = namespace_of(data.subject)
    if (detail := nobody(kind)) is not None:
        return Fault(Reason.WRONG_SHAPE, "/data/subject", detail)
    if kind in rules.identifiers:
        return Fault(
            Reason.WRONG_SHAPE,
            "/data/subject",
            f"{kind}:… is an identifier; name a subject first, then what it is known by",
        )
    verb = "verify" if event.type == Verify.wire_type else _PAIRS.get(event.type)
    if verb is None:
        return None
    if verb == "verify":
        place, kind, value = "identifier_type", data.identifier_type, data.identifier_value
    else:
        place, (kind, _, value) = "other", data.other.partition(":")
    if (detail := nobody(kind)) is not None:
        return Fault(Reason.WRONG_SHAPE, f"/data/{place}", detail)
    normal = value if rules.declares(kind) else rules.normalise(kind, value)
    if normal is None:
        return None
    return LinkFact(
        data.subject,
        lane,
        offset,
        event.log_us,
        f"{kind}:{normal}",
        verified=verb == "verify",
        command=verb,  # type: ignore[arg-type]  # one of the three
        actor=actor_name(data.actor),
        reason=data.reason,
    )


def nobody(kind: str) -> str | None:
    """Why names of this type say of nobody who it is; None where they may."""
    if kind == CUSTOMER_NAMESPACE:
        return f"{kind}:… is kept for customer ids; name a subject of the customer, as crm:4711"
    if kind in REFERENCE_TYPES:
        return f"{kind}:… is a reference: what something is about, not who somebody is; name a subject"
    return None
