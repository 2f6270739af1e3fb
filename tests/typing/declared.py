"""Declarations of a project, for mypy and pyright in strict mode, as `user_code.py`.

Right uses have no error, and each wrong one has an ignore comment of both checkers.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from django.contrib.auth.models import User
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpRequest, HttpResponse
from django.views.generic import TemplateView
from typing_extensions import assert_type

from flagstaff import (
    Flag,
    Value,
    changes,
    explain,
    flag_enabled,
    get_value,
    resolve_value,
    snapshot,
)
from flagstaff.decorators import flag_required
from flagstaff.mixins import FlagRequiredMixin
from flagstaff.testing import override_flag, override_value
from flagstaff.typing import FlagstaffRequest


class Theme(Enum):
    LIGHT = "light"
    DARK = "dark"


# Flags.

NEW_CHECKOUT = Flag(
    "new_checkout",
    "Checkout on one page",
    owner="payments",
    tags=["checkout", "web"],
    kind="ops",
    review_on="2027-03-01",
    bucket_by="organization",
    client_side=True,
)
SEARCH = Flag("search", review_on=date(2027, 3, 1))

Flag()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Flag(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Flag("a", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Flag("a", kind="foo")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Flag("a", tags=[3])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Flag("a", review_on=2027)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Flag("a", enabled=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Flag("a", rollout_percent=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Flag("a", descripton="b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def evaluate_flags(request: HttpRequest, user: User) -> None:
    assert_type(NEW_CHECKOUT.enabled(), bool)
    assert_type(NEW_CHECKOUT.enabled(request.user), bool)
    NEW_CHECKOUT.enabled(user, context={"country": "DE"})
    NEW_CHECKOUT.enabled(42)
    flag_enabled(NEW_CHECKOUT, user)
    explain(NEW_CHECKOUT, user)
    snapshot().flag_enabled(NEW_CHECKOUT, user)
    assert_type(NEW_CHECKOUT.review_on, date | None)
    assert_type(NEW_CHECKOUT.tags, tuple[str, ...])
    NEW_CHECKOUT.enabled(3.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    NEW_CHECKOUT.enabled(request)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    NEW_CHECKOUT.enabled(user, True)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    NEW_CHECKOUT.enabled(user, default=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    NEW_CHECKOUT.get(user)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    NEW_CHECKOUT.enabeld(user)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


# Values.

PAGE_SIZE = Value(
    "page_size",
    20,
    "Products on a page",
    group="Catalogue",
    validators=[MinValueValidator(1), MaxValueValidator(100)],
)
GATEWAY = Value("payment_gateway", "stripe", "Who takes the money", choices=["stripe", "paypal"])
FEE = Value("delivery_fee", Decimal("4.90"), "Euro, added to each order")
RATE = Value("rate", 0.5)
SHOWS_BANNER = Value("shows_banner", True)
CARRIERS = Value("carriers", ["post"])
LIMITS = Value("limits", {"free": 1})
OPENS = Value("opens", date(2026, 3, 1))
OPENED = Value("opened", datetime(2026, 3, 1))  # noqa: DTZ001
DELAY = Value("delay", timedelta(minutes=5))
THEME = Value("theme", Theme.LIGHT)
NOTICE = Value("notice", None, "Shown if there is one", type=str)
LIMIT = Value("limit", 5, null=True)
PASSWORD = Value("mail_password", "", secret=True)

Value("a")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
Value(3, 20)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
Value("a", 20, 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
Value("a", 20, unit="s")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
Value("a", 20, validators=[3])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def read_values(user: User) -> None:
    assert_type(PAGE_SIZE.get(), int)
    assert_type(PAGE_SIZE.get(user), int)
    assert_type(GATEWAY.get(), str)
    assert_type(FEE.get(), Decimal)
    assert_type(RATE.get(), float)
    assert_type(SHOWS_BANNER.get(), bool)
    assert_type(CARRIERS.get(), list[str])
    assert_type(LIMITS.get(), dict[str, int])
    assert_type(OPENS.get(), date)
    assert_type(OPENED.get(), datetime)
    assert_type(DELAY.get(), timedelta)
    assert_type(THEME.get(), Theme)
    assert_type(NOTICE.get(), str | None)
    assert_type(LIMIT.get(), int | None)
    assert_type(PAGE_SIZE.default, int)
    assert_type(FEE.get() * 2 + PAGE_SIZE.get(), Decimal)
    PAGE_SIZE.get(user, context={"plan": "pro"})
    get_value(PAGE_SIZE)
    resolve_value(PAGE_SIZE, user=user)
    PAGE_SIZE.get(3.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    PAGE_SIZE.get(default=20)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    PAGE_SIZE.enabled(user)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    PAGE_SIZE.get().upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    show(FEE.get() + 0.5)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnknownArgumentType]
    NOTICE.get().upper()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    size: str = PAGE_SIZE.get()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    show(size)


# A key is not its result.


def show(*results: object) -> None: ...


def mistake_a_flag_for_its_result() -> None:
    # mypy reports it with --warn-unreachable, below.
    if NEW_CHECKOUT:  # pyright: ignore[reportGeneralTypeIssues]
        show()  # type: ignore[unreachable]


def mistake_a_value_for_its_result() -> None:
    show(PAGE_SIZE < 10)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnknownArgumentType]
    show(range(PAGE_SIZE))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def read_an_item_by_a_key() -> None:
    show(CARRIERS[0])  # type: ignore[index]  # pyright: ignore[reportArgumentType]


def add_to_a_key() -> None:
    show(PAGE_SIZE + "1")  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnknownArgumentType]


def multiply_a_key() -> None:
    show(PAGE_SIZE * 2)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnknownArgumentType]


def read_a_list_by_its_key() -> None:
    for carrier in CARRIERS:  # type: ignore[var-annotated]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        show(carrier)  # pyright: ignore[reportUnknownArgumentType]


# All that takes a key.


@flag_required(NEW_CHECKOUT)
def checkout(request: FlagstaffRequest) -> HttpResponse:
    assert_type(request.flags.enabled(NEW_CHECKOUT), bool)
    request.flags.value(PAGE_SIZE)
    return HttpResponse()


class Checkout(FlagRequiredMixin, TemplateView):
    flag_key = NEW_CHECKOUT


def change(user: User) -> Any:
    changes.flags.enable(NEW_CHECKOUT)
    changes.flags.allow(NEW_CHECKOUT, user)
    changes.values.set(PAGE_SIZE, 50)


@override_flag(NEW_CHECKOUT, True)
def test_checkout() -> None:
    with override_value(PAGE_SIZE, 5):
        assert PAGE_SIZE.get() == 5
