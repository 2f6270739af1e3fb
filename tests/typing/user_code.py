"""Code of a project, for mypy and pyright in strict mode. It is checked, and never run.

An error that must be reported has an ignore comment. Both checkers report a comment that ignores
nothing, so a missing error fails the check, too.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.functional import SimpleLazyObject
from django.views.generic import DetailView, ListView, TemplateView, View
from typing_extensions import assert_type

from flagstaff import (
    all_flags,
    changes,
    explain,
    flag_enabled,
    get_value,
    resolve_value,
    snapshot,
)
from flagstaff._core import Resolution
from flagstaff._types import UserLike
from flagstaff.decorators import flag_required
from flagstaff.experiments import resolve_variant
from flagstaff.mixins import FlagRequiredMixin
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from flagstaff.typing import FlagstaffRequest


@dataclass
class Customer:
    """Not a Django model, but it has a primary key."""

    pk: uuid.UUID


# Users and primary keys.


def evaluate_for_users(request: HttpRequest, customer: Customer) -> None:
    assert_type(flag_enabled("new_checkout"), bool)
    flag_enabled("new_checkout", request.user)
    flag_enabled("new_checkout", User(pk=42), default=True)
    flag_enabled("new_checkout", AnonymousUser())
    flag_enabled("new_checkout", SimpleLazyObject(lambda: User(pk=42)))
    flag_enabled("new_checkout", customer)
    flag_enabled("new_checkout", 42)
    flag_enabled("new_checkout", "alice@example.com")
    flag_enabled("new_checkout", uuid.uuid4())
    flag_enabled("new_checkout", None)
    explain("new_checkout", request.user)
    assert_type(all_flags(request.user), dict[str, bool])
    snapshot().flag_enabled("new_checkout", request.user)


def evaluate_for_other_objects() -> None:
    flag_enabled("new_checkout", 3.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flag_enabled("new_checkout", b"42")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flag_enabled("new_checkout", [42])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flag_enabled("new_checkout", {"pk": 42})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flag_enabled("new_checkout", Decimal(42))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flag_enabled("new_checkout", object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    explain("new_checkout", 3.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    all_flags(3.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    snapshot().flag_enabled("new_checkout", 3.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    snapshot().explain("new_checkout", 3.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    snapshot().all_flags(3.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def evaluate_with_wrong_arguments(request: HttpRequest) -> None:
    flag_enabled(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flag_enabled("new_checkout", request.user, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    flag_enabled("new_checkout", fallback=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def has_new_checkout(user: UserLike) -> bool:
    """A function of a project takes the same users."""
    return flag_enabled("new_checkout", user)


def change_allowed_users(user: User, staff: QuerySet[User]) -> None:
    changes.flags.allow("new_checkout", user)
    changes.flags.allow("new_checkout", [42, user])
    changes.flags.disallow("new_checkout", staff)
    changes.flags.allow("new_checkout", 3.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    changes.flags.allow("new_checkout", [3.5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    changes.flags.disallow("new_checkout", 3.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def change_fields(flag: FeatureFlag) -> None:
    assert_type(changes.flags.create("a", description="b", kind="ops"), changes.Changed)
    changes.flags.update("a", {"team": 3}, rules=[], kind=FeatureFlag.Kind.OPS, expect_version=4)
    changes.values.create("a", [1], type="array", choices=[[1], [2]])
    changes.values.update("a", value=20, type="integer")
    changes.segments.update("staff", conditions=[], description="Ours")
    changes.flags.undo("a", 7, expect_version=7)
    changes.flags.restore("a", to=7)
    changes.flags.delete(flag.key)
    changes.flags.create("a", descripton="b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    changes.flags.create("a", kind="foo")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    changes.flags.update("a", ruls=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    changes.values.create("a", 1, typ="integer")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    changes.values.update("a", type="int")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    changes.segments.create("staff", [], descripton="b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    changes.flags.restore("a", 7)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    changes.flags.undo(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def change_fields_async() -> None:
    assert_type(await changes.flags.acreate("a", description="b"), changes.Changed)
    await changes.flags.aenable("a", expect_version=4)
    await changes.flags.acreate("a", descripton="b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await changes.flags.aset_rollout("a", "5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await changes.aundo([]), list[changes.Undone])


# Values.


def read_values() -> None:
    assert_type(get_value("payment_gateway"), Any)
    assert_type(get_value("payment_gateway", "stripe"), Any | str)
    assert_type(get_value("page_size", default=20), Any | int)
    assert_type(snapshot().get_value("page_size", 20), Any | int)
    assert_type(resolve_value("page_size"), Resolution[Any])
    assert_type(resolve_value("page_size", 20), Resolution[Any | int])
    assert_type(snapshot().resolve_value("page_size", 20), Resolution[Any | int])
    assert_type(resolve_variant("button", default="a"), Resolution[str])
    assert_type(resolve_variant("button"), Resolution[str | None])
    get_value(42)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


# Requests.


def plain_request(request: HttpRequest) -> None:
    request.flags  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # noqa: B018


def checkout(request: FlagstaffRequest) -> JsonResponse:
    assert_type(request.flags.enabled("new_checkout"), bool)
    assert_type(request.flags.value("payment_gateway"), Any)
    assert_type(request.flags.value("payment_gateway", "stripe"), Any | str)
    request.flags.snapshot.flag_enabled("new_checkout", 42)
    assert_type(request.flags.visitor, str | None)
    request.flags.enable("new_checkout")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    return JsonResponse(request.flags.all())


# Views.


@flag_required("new_checkout", otherwise=checkout)
def new_checkout(request: FlagstaffRequest, order: int) -> HttpResponse:
    return HttpResponse(str(order))


@flag_required("new_checkout")
async def new_checkout_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def call_views(request: FlagstaffRequest) -> None:
    assert_type(new_checkout(request, 7), HttpResponse)
    new_checkout(request, "7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Page(FlagRequiredMixin, TemplateView):
    flag_key = "new_checkout"
    flag_otherwise = checkout


class PageWithRequest(FlagRequiredMixin, TemplateView):
    flag_key = "new_checkout"
    request: FlagstaffRequest  # pyright: ignore[reportIncompatibleVariableOverride]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "new": self.request.flags.enabled("banner")}


class Details(FlagRequiredMixin, DetailView[User]):
    flag_key = "new_checkout"


class Users(FlagRequiredMixin, ListView[User]):
    flag_key = "new_checkout"


class OwnView(FlagRequiredMixin, View):
    flag_key = "new_checkout"

    def get(self, request: FlagstaffRequest) -> HttpResponse:
        return HttpResponse("new" if request.flags.enabled("new_checkout") else "old")


class AsyncView(FlagRequiredMixin, View):
    flag_key = "new_checkout"

    async def get(self, request: FlagstaffRequest) -> HttpResponse:
        return HttpResponse("new" if await request.flags.aenabled("new_checkout") else "old")


class WrongKey(FlagRequiredMixin, View):
    flag_key = 42  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


# Models.


def read_models(flag: FeatureFlag, value: KeyValueStore) -> None:
    assert_type(flag.key, str)
    assert_type(flag.enabled, bool)
    assert_type(flag.rollout_percent, int)
    assert_type(flag.description, str)
    assert_type(flag.kind, str)
    assert_type(flag.client_side, bool)
    assert_type(flag.changed_at, datetime)
    assert_type(value.key, str)
    assert_type(value.value, Any)
    assert_type(value.secret, bool)


def read_history(change: Change) -> None:
    assert_type(change.at, datetime)
    assert_type(change.transaction_id, int)
    assert_type(change.key, str)
    assert_type(change.action, str)
    assert_type(change.actor, str | None)
    assert_type(change.source, str | None)
    assert_type(change.reason, str | None)
    assert_type(change.session_user, str)


def query_models() -> None:
    assert_type(FeatureFlag.objects.get(key="new_checkout"), FeatureFlag)
    assert_type(KeyValueStore.objects.get(key="page_size"), KeyValueStore)
    assert_type(Change.objects.latest("id"), Change)
