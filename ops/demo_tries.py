"""What a person can try when the demo is up: six things on the agent's page, some more in a terminal.

Invariants:
- Every command works as it is printed, in a shell that has the exports; a test sends its events.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from ops.answers import say
from ops.demo_identity import NORA, OFFICE
from ops.installation import Installation
from ops.up import say_page

ADAS_CALL = "phone=+4930901820"
# Ada pays what her expired card could not; and the same, as somebody mistypes it.
PAID: dict[str, Any] = {
    "specversion": "1.0",
    "id": "try-1",
    "source": "try",
    "type": "billing.payment_received",
    "subject": "crm:4711",
    "data": {"payment_id": "Y-99", "invoice_id": "I-88", "amount_minor": 4990, "currency": "EUR"},
}
BROKEN: dict[str, Any] = {**PAID, "id": "try-2", "data": {**PAID["data"], "amount_minor": "49.90"}}


def curl(event: dict[str, Any]) -> str:
    """The command that writes this event."""
    headers = '-H "Authorization: Bearer $KEY" -H "Content-Type: application/json"'
    return f"curl -s {headers} -d '{json.dumps(event)}' $HTTP/v1/events"


def suggest(installation: Installation, *, shared: bool) -> None:
    """Say where the page is, and what to try. `shared`: whether the office with its one phone is there."""
    office, nora = OFFICE.replace(":", "=", 1), NORA.replace(":", "=", 1)
    say()
    say_page(installation, ADAS_CALL)
    say()
    say("In another terminal:")
    pairs = {**installation.addresses, "HTTP": installation.http, "KEY": installation.api_key}
    say(f"  export {' '.join(f'{name}={value}' for name, value in pairs.items())}")
    say()
    say("Six things to try:")
    say("1. A call arrives. Open the link above: who it is, what is wrong, and why the call, probably.")
    say("   R reveals masked data for a reason, W writes down what was said, ? helps with the rest.")
    say("2. An event lands live. Ada pays, while her page is open; nothing moves until you press N:")
    say(f"   {curl(PAID)}")
    say("3. A phone that many share. Ctrl+K on the page, or open this: nobody is picked silently.")
    say(
        f"   {installation.http}/agent#{office}"
        if shared
        else "   (Where more people live: --customers 300.)"
    )
    say("4. A merge and its unmerge. Open Nora, then say that she is Ada, and that she is not:")
    say(f"   {installation.http}/agent#{nora}")
    say(f'   scv identity link crm:4711 {NORA} --actor E-7 --reason "trying it"')
    say(f'   scv identity unlink crm:4711 {NORA} --actor E-7 --reason "she is not"')
    say("5. Last month's view. A on Ada's page turns it back, Esc ends that; the ? beside a figure says why.")
    say("   The same in the terminal:")
    month_ago = (datetime.now(UTC) - timedelta(days=30)).strftime("%Y-%m-%dT00:00:00Z")
    say(f'   scv inspect "phone:+49 30 901820" --as-of {month_ago}')
    say("   scv inspect crm:4711 --explain billing.balances")
    say(
        "6. A broken event: refused over HTTP, with the field and the reason; from Kafka it is a dead letter:"
    )
    say(f"   {curl(BROKEN)}")
    say("   scv dead-letters list")
    say(f"   To repair one: Inspect it on {installation.http}/ops, correct it, and write it again.")
    say()
    say(f"More: {installation.http}/docs describes HTTP, scv identity show {NORA} says why she is one;")
    say("scv doctor --probe looks after it all.")
    say("Ctrl-C ends the demo; nothing is kept.")
