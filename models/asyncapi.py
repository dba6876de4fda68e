"""The AsyncAPI 3 document: every topic that other systems write or read, and what its records are.

Invariants:
- Made from the models, as the JSON Schemas are: pure and stable.
- It needs nothing else: all schemas stand in it.
- What is written is YAML that any parser reads as this document: strings are JSON strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from models.catalogue import (
    AUDIT_TOPIC,
    COMMAND_TOPIC,
    DEAD_LETTER_TOPIC,
    DOMAIN_TOPICS,
    GENERATIONS_TOPIC,
    MERGES_TOPIC,
    PROFILES_TOPIC,
    SETTLED_TOPIC,
    SIGNALS_TOPIC,
    event_model,
    types_of,
)
from models.promotion import PromotionEvent
from models.published import SnapshotEvent, TombstoneHeaders
from models.schemas import DeadLetterEvent, MergeEvent, SchemaGenerator, SettledEvent

ASYNCAPI = "3.0.0"
CLOUD_EVENT = "application/cloudevents+json"
_SCHEMAS = "#/components/schemas/"
_KEY = {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}}

# Keys that need no quotes, but for words that some parsers take for something else.
_PLAIN = re.compile(r"[A-Za-z$][A-Za-z0-9_.$-]*")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


class _Message(NamedTuple):
    """A kind of record: its name, what it says, the model of its value, of its headers."""

    name: str
    summary: str
    payload: type[BaseModel] | None
    headers: type[BaseModel] | None = None


class _Channel(NamedTuple):
    """A topic. scv `receive`s or `send`s."""

    topic: str
    action: str
    about: str
    messages: tuple[_Message, ...]


def _said(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _events(topic: str) -> tuple[_Message, ...]:
    return tuple(_Message(name, _said(kind), event_model(name)) for name, kind in types_of(topic).items())


def _channels() -> tuple[_Channel, ...]:
    received = [(topic, "Events of your systems, keyed by subject.") for topic in DOMAIN_TOPICS]
    received.append((COMMAND_TOPIC, "Who belongs together and who does not, as people and programs say."))
    return (
        *(_Channel(topic, "receive", about, _events(topic)) for topic, about in received),
        _Channel(
            PROFILES_TOPIC, "send", "Every customer's profile by customer id; compacted: the latest stays.",
            (
                _Message("customer.profile_changed", _said(SnapshotEvent), SnapshotEvent),
                _Message(
                    "customer.profile_merged", "A customer that was merged away.", None, TombstoneHeaders
                ),
                _Message(
                    "customer.profile_removed",
                    "A customer that a promoted generation does not know.",
                    None,
                    TombstoneHeaders,
                ),
            ),
        ),
        _Channel(SIGNALS_TOPIC, "send", "What somebody should act upon; empty until scv knows signals.", ()),
        _Channel(
            MERGES_TOPIC, "send", "Customers that merged, split or exchanged members, and why.",
            (_Message("customer.merges", _said(MergeEvent), MergeEvent),),
        ),
        _Channel(
            DEAD_LETTER_TOPIC, "send", "Records that could not be folded, with the reason.",
            (_Message("scv.dead_letter", _said(DeadLetterEvent), DeadLetterEvent),),
        ),
        _Channel(
            SETTLED_TOPIC, "send", "What became of dead letters: redriven or discarded, by whom and why.",
            (_Message("scv.dead_letter_settled", _said(SettledEvent), SettledEvent),),
        ),
        _Channel(
            GENERATIONS_TOPIC, "send", "Which generation readers see, from when on, by whom and why.",
            (_Message("scv.generations", _said(PromotionEvent), PromotionEvent),),
        ),
        _Channel(AUDIT_TOPIC, "send", "Who has seen what of whom.", ()),
    )  # fmt: skip


def document(version: str = "1") -> dict[str, Any]:
    """The whole document. `version` is that of the interface: it changes when a reader would break."""
    channels = _channels()
    messages = [message for channel in channels for message in channel.messages]
    models = {
        model for message in messages for model in (message.payload, message.headers) if model is not None
    }
    ordered = sorted(models, key=lambda model: model.__name__)
    refs, schemas = models_json_schema(
        [(model, "validation") for model in ordered],
        ref_template=_SCHEMAS + "{model}",
        schema_generator=SchemaGenerator,
    )
    named = {model: refs[model, "validation"] for model in ordered}
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "scv",
            "version": version,
            "description": "One customer, one view, from events. Records are CloudEvents 1.0, their keys "
            "text. A reader ignores what it does not know: fields, types of events.",
        },
        "defaultContentType": CLOUD_EVENT,
        "channels": {channel.topic: _channel(channel) for channel in channels},
        "operations": {_operation_name(channel): _operation(channel) for channel in channels},
        "components": {
            "messages": {message.name: _message(message, named) for message in messages},
            "schemas": schemas["$defs"],
        },
    }


def _channel(channel: _Channel) -> dict[str, Any]:
    names = [message.name for message in channel.messages]
    return {
        "address": channel.topic,
        "description": channel.about,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": {"topic": channel.topic, "bindingVersion": "0.5.0"}},
    }


def _operation_name(channel: _Channel) -> str:
    return f"{channel.action}.{channel.topic}"


def _operation(channel: _Channel) -> dict[str, Any]:
    return {"action": channel.action, "channel": {"$ref": f"#/channels/{channel.topic}"}}


def _message(message: _Message, named: dict[type[BaseModel], dict[str, Any]]) -> dict[str, Any]:
    # A record without value has no type of content either.
    payload: Any = {"type": "null"} if message.payload is None else named[message.payload]
    shown: dict[str, Any] = {"name": message.name, "summary": message.summary}
    if message.payload is not None:
        shown["contentType"] = CLOUD_EVENT
    if message.headers is not None:
        shown["headers"] = named[message.headers]
    return {**shown, "payload": payload, "bindings": _KEY}


def document_text() -> str:
    """The document as YAML."""
    return "\n".join(_yaml(document(), "")) + "\n"


def _yaml_key(key: str) -> str:
    return key if _PLAIN.fullmatch(key) and key.lower() not in _WORDS else json.dumps(key, ensure_ascii=False)


def _yaml(value: Any, indent: str) -> Iterator[str]:
    """A mapping or list in lines; what is no collection, or an empty one, is JSON, which YAML contains."""
    items = value.items() if isinstance(value, dict) else ((None, one) for one in value)
    for key, one in items:
        head = "-" if key is None else f"{_yaml_key(key)}:"
        if isinstance(one, dict | list) and one:
            yield indent + head
            yield from _yaml(one, indent + "  ")
        else:
            yield f"{indent}{head} {json.dumps(one, ensure_ascii=False)}"
