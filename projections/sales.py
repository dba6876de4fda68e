"""Section `sales`: orders, revenue, opportunities, contracts. Returns lower revenue, refunds do not."""

from __future__ import annotations

from typing import Any

from models.bounds import BASKETS_MAX, LIST_MAX
from models.decoding import Event
from models.sales import (
    BasketAbandoned,
    ContractEnded,
    ContractSigned,
    OpportunityChanged,
    OrderAmended,
    OrderCancelled,
    OrderDelivered,
    OrderPlaced,
    OrderReturned,
)
from projections.entities import Keyed, Naming, Shown
from projections.instants import instant_or_none
from projections.lists import FirstDays, in_first_days
from projections.reducers import (
    Add,
    Configuration,
    Count,
    Earliest,
    Latest,
    Ledger,
    State,
    Tally,
    constant,
    field,
    instant,
    occurred_us,
    stamped,
)
from projections.section import Page, Rendered, Section, by_currency, occurred_at


def _margin(event: Event) -> int:
    data = event.data
    if data.margin_minor is not None:
        return int(data.margin_minor)
    return sum(line.margin_minor or 0 for line in data.lines)


def _channel(event: Event) -> tuple[str, list[int]]:
    data = event.data
    return f"{data.channel or 'other'}:{data.currency}", [1, data.amount_minor]


class Products(Keyed):
    """Products by id, from the lines of orders: quantity (kept as money of no currency), last bought."""

    def __init__(self, kept: int) -> None:
        super().__init__(fields=("last_bought_at",), kept=kept)

    def adders(self, configuration: Configuration) -> dict[str, Add]:
        def add(state: State, event: Event) -> State:
            for line in event.data.lines:
                self.name(
                    state, line.product_id, stamped(event), [(0, event.occurred_us)], [("", line.quantity)]
                )
            return self.bounded(state)

        return {OrderPlaced.wire_type: add}


class Sales(Section):
    """Orders and what they came to."""

    name = "sales"

    placed_count = Count(OrderPlaced)
    cancelled_count = Count(OrderCancelled)
    return_count = Count(OrderReturned)
    first_order = Earliest(OrderPlaced, reads=())
    last_order = Latest(OrderPlaced, reads=())
    first_days = FirstDays(OrderPlaced)
    revenue = Ledger(
        gross={
            OrderPlaced: (field("amount_minor"), 1),
            OrderAmended: (field("delta_minor"), 1),
            OrderCancelled: (field("delta_minor"), 1),
        },
        returned={OrderReturned: (field("amount_minor"), 1)},
        margin={OrderPlaced: (_margin, 1)},
    )
    by_channel = Tally(_channel, OrderPlaced)
    orders = Keyed(
        Naming(
            OrderPlaced,
            "order_id",
            total=("amount_minor", 1),
            status=constant("placed"),
            placed_at=occurred_us,
            promised_at=instant("promised_at"),
            currency=field("currency"),
            channel=field("channel"),
        ),
        Naming(OrderAmended, "order_id", total=("delta_minor", 1), currency=field("currency")),
        Naming(
            OrderCancelled,
            "order_id",
            total=("delta_minor", 1),
            status=constant("cancelled"),
            currency=field("currency"),
        ),
        Naming(
            OrderDelivered,
            "order_id",
            status=constant("delivered"),
            promised_at=instant("promised_at"),
            delivered_at=occurred_us,
        ),
        Naming(OrderReturned, "order_id", status=constant("returned")),
        fields=("status", "placed_at", "promised_at", "delivered_at", "currency", "channel"),
        is_open=lambda order: order["status"] == "placed",
        kept=2 * LIST_MAX,
    )
    opportunities = Keyed(
        Naming(
            OpportunityChanged,
            "opportunity_id",
            stage=field("stage"),
            amount_minor=field("amount_minor"),
            currency=field("currency"),
            product_line=field("product_line"),
            changed_at=occurred_us,
        ),
        fields=("stage", "amount_minor", "currency", "product_line", "changed_at"),
        is_open=lambda one: one["stage"] not in ("won", "lost") and not one["stage"].startswith("closed"),
        kept=2 * LIST_MAX,
    )
    baskets = Keyed(
        Naming(
            BasketAbandoned,
            "basket_id",
            amount_minor=field("amount_minor"),
            currency=field("currency"),
            abandoned_at=occurred_us,
        ),
        fields=("amount_minor", "currency", "abandoned_at"),
        kept=2 * BASKETS_MAX,
    )
    contracts = Keyed(
        Naming(
            ContractSigned,
            "contract_id",
            status=constant("signed"),
            product_line=field("product_line"),
            signed_at=occurred_us,
            ends_at=instant("ends_at"),
        ),
        Naming(ContractEnded, "contract_id", status=constant("ended"), ends_at=occurred_us),
        fields=("status", "product_line", "signed_at", "ends_at"),
        is_open=lambda contract: contract["status"] != "ended",
        kept=2 * LIST_MAX,
    )
    products = Products(kept=2 * LIST_MAX)

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        orders = cls.orders.ordered(states["orders"])
        opportunities = cls.opportunities.ordered(states["opportunities"])
        baskets = cls.baskets.ordered(states["baskets"])
        contracts = cls.contracts.ordered(states["contracts"])
        products = cls.products.ordered(states["products"])
        document = {
            "order_count": states["placed_count"] - states["cancelled_count"],
            "return_count": states["return_count"],
            "first_order_at": occurred_at(states["first_order"]),
            "last_order_at": occurred_at(states["last_order"]),
            "orders_first_90_days": in_first_days(states["first_days"]),
            "revenue": page.cut("revenue", _revenue(states["revenue"]), LIST_MAX),
            "by_channel": page.cut("by_channel", _by_channel(states["by_channel"]), LIST_MAX),
            "orders": page.entities("orders", orders, states["orders"], LIST_MAX, _order),
            "opportunities": page.entities(
                "opportunities", opportunities, states["opportunities"], LIST_MAX, _opportunity
            ),
            "baskets": page.entities("baskets", baskets, states["baskets"], BASKETS_MAX, _basket),
            "contracts": page.entities("contracts", contracts, states["contracts"], LIST_MAX, _contract),
            "products": page.entities("products", products, states["products"], LIST_MAX, _product),
        }
        waiting = [
            (order["placed_at"], order.id, "Order " + order.id + " placed")
            for order in orders.opened
            if order["placed_at"] is not None
        ]
        return Rendered(document, page.truncated, {"order_open": max(waiting, default=None)})


def _revenue(state: State) -> list[dict[str, Any]]:
    return [
        {
            "currency": currency,
            "gross_minor": gross,
            "returned_minor": returned,
            "net_minor": gross - returned,
            "margin_minor": margin,
        }
        for currency, (gross, returned, margin) in by_currency(state)
    ]


def _by_channel(state: State) -> list[dict[str, Any]]:
    rows = [(*name.split(":"), *row) for name, row in state.items()]
    rows.sort(key=lambda row: (-row[2], row[0], row[1]))
    return [
        {"channel": channel, "order_count": count, "amount_minor": amount, "currency": currency}
        for channel, currency, count, amount in rows
    ]


def _order(order: Shown) -> dict[str, Any]:
    status, placed_at, promised_at, delivered_at, currency, channel = order.values
    return {
        "order_id": order.id,
        "status": status,
        "placed_at": instant_or_none(placed_at),
        "promised_at": instant_or_none(promised_at),
        "delivered_at": instant_or_none(delivered_at),
        "amount_minor": order.total(currency),
        "currency": currency,
        "channel": channel,
    }


def _opportunity(one: Shown) -> dict[str, Any]:
    names = ("stage", "amount_minor", "currency", "product_line")
    return {
        "opportunity_id": one.id,
        **{name: one[name] for name in names},
        "changed_at": instant_or_none(one["changed_at"]),
    }


def _basket(basket: Shown) -> dict[str, Any]:
    return {
        "basket_id": basket.id,
        "amount_minor": basket["amount_minor"],
        "currency": basket["currency"],
        "abandoned_at": instant_or_none(basket["abandoned_at"]),
    }


def _contract(contract: Shown) -> dict[str, Any]:
    return {
        "contract_id": contract.id,
        "product_line": contract["product_line"],
        "signed_at": instant_or_none(contract["signed_at"]),
        "ends_at": instant_or_none(contract["ends_at"]),
    }


def _product(product: Shown) -> dict[str, Any]:
    return {
        "product_id": product.id,
        "quantity": product.total(""),
        "last_bought_at": instant_or_none(product.values[0]),
    }
