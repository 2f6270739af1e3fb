"""What a kill here means for rows about which the project's own code decides."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import waffle
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache
from django.test import Client, RequestFactory
from waffle.models import AbstractBaseFlag, AbstractUserFlag
from waffle.testutils import override_flag
from waffle.views import waffle_json

from flagstaff import changes
from flagstaff.contrib.waffle.rows import guard
from flagstaff.models import FeatureFlag

own: Any = import_module("own_code.models")
OrgFlag, EarlyFlag, AsyncFlag, PlainFlag = own.OrgFlag, own.EarlyFlag, own.AsyncFlag, own.PlainFlag
LoudSwitch, LoudSample, asked = own.LoudSwitch, own.LoudSample, own.asked


@pytest.fixture
def user() -> User:
    return User.objects.create(username="ada", last_name="acme", is_staff=True)


@pytest.fixture
def row(user: User) -> Any:
    """A flag that is on for this user by its organization, and by each column of waffle."""
    row = OrgFlag.objects.create(
        name="sale", organization="acme", staff=True, languages="en-us", percent="99.9"
    )
    row.users.add(user)
    return row


def request_of(user: Any) -> Any:
    request: Any = RequestFactory().get("/")
    request.user, request.LANGUAGE_CODE = user, "en-us"
    request.COOKIES["dwf_sale"] = "True"
    return request


def page(path: str) -> Callable[[Any, User], Any]:
    def ask(_row: Any, user: User) -> Any:
        client = Client()
        client.force_login(user)
        return client.get(path, follow=True).content.decode()

    return ask


async def _await(result: Any) -> Any:
    return await result


WAYS: dict[str, Callable[[Any, User], Any]] = {
    "function": lambda _row, user: waffle.flag_is_active(request_of(user), "sale"),
    "read only": lambda _row, user: waffle.flag_is_active(request_of(user), "sale", read_only=True),
    "decorator": page("/decorator/"),
    "mixin": page("/mixin/"),
    "template tag": page("/tag/django/"),
    "jinja2": page("/tag/jinja2/"),
    "json": lambda _row, user: (
        b'"sale": {"is_active": true' in waffle_json(request_of(user)).content
    ),
    "row": lambda row, user: row.is_active(request_of(user)),
    "cached row": lambda _row, user: OrgFlag.get("sale").is_active(request_of(user)),
    "row of all": lambda _row, user: OrgFlag.get_all()[0].is_active(request_of(user)),
    "pickled row": lambda row, user: pickle.loads(pickle.dumps(row)).is_active(request_of(user)),
    "deferred row": lambda _row, user: OrgFlag.objects.only("id").get().is_active(request_of(user)),
    "renamed row": lambda row, user: _renamed(row).is_active(request_of(user)),
    "overridden method": lambda row, user: row.is_active_for_user(user),
    "inherited method": lambda row, user: row._is_active_for_user(request_of(user)),
    "language": lambda row, user: row._is_active_for_language(request_of(user)),
    "percent": lambda row, user: row._is_active_for_percent(request_of(user), read_only=True),
    "class of the project": OrgFlag.is_active_for_user,
    "class of waffle": AbstractUserFlag.is_active_for_user,
    "base class of waffle": AbstractBaseFlag.is_active_for_user,
    "subclass of a subclass": lambda _row, user: EarlyFlag.objects.get().is_active_for_user(user),
    "asynchronous row": lambda _row, user: asyncio.run(
        _await(AsyncFlag.objects.get().is_active(request_of(user)))
    ),
}


def _renamed(row: Any) -> Any:
    row.name = "other"
    return row


@pytest.mark.parametrize("way", WAYS)
def test_kill_precedes_own_code_whichever_way_it_is_asked(way: str, row: Any, user: User) -> None:
    assert WAYS[way](OrgFlag.objects.get(), user)
    changes.flags.disable("sale")
    asked.clear()
    result = WAYS[way](OrgFlag.objects.get(), user)
    # Such as 0 or "": never a value that a project takes for "on", also by `is not None`.
    assert not result
    assert result is None or "is_active_for" not in way.replace(" ", "_")
    assert asked == []
    changes.flags.enable("sale")
    assert WAYS[way](OrgFlag.objects.get(), user)


@pytest.mark.parametrize("method", ["is_active_for_user", "_is_active_for_user"])
def test_result_for_user_of_killed_flag_is_none(method: str, row: Any, user: User) -> None:
    changes.flags.disable("sale")
    asking = user if method == "is_active_for_user" else request_of(user)
    assert getattr(EarlyFlag.objects.get(), method)(asking) is None


def test_killed_flag_is_off_without_reading_its_row(
    row: Any, user: User, django_assert_num_queries: Any
) -> None:
    changes.flags.disable("sale")
    cache.clear()
    request = request_of(user)
    with django_assert_num_queries(0):
        assert waffle.flag_is_active(request, "sale") is False


def test_own_code_decides_without_a_flag(row: Any, user: User) -> None:
    changes.flags.delete("sale")
    assert waffle.flag_is_active(request_of(user), "sale")
    assert EarlyFlag.objects.get().is_active_for_user(AnonymousUser()) is False


def test_killed_switch_and_sample_are_off() -> None:
    switch = LoudSwitch.objects.create(name="shop", active=True)
    sample = LoudSample.objects.create(name="audit", percent=100)
    results: list[Callable[[], Any]] = [
        lambda: waffle.switch_is_active("shop"),
        lambda: waffle.sample_is_active("audit"),
    ]
    results += [switch.is_active, sample.is_active]
    assert [ask() for ask in results] == [True] * 4
    for key in ("shop", "audit"):
        changes.flags.disable(key)
    asked.clear()
    assert ([ask() for ask in results], asked) == ([False] * 4, [])


def test_flag_of_new_row_is_on_at_nothing(row: Any) -> None:
    PlainFlag.objects.create(name="plain", everyone=False)
    for flag in FeatureFlag.objects.filter(key__in=["sale", "plain"]):
        assert (flag.enabled, flag.rollout_percent, flag.rules) == (True, 0, [])
        assert not flag.allowed_users.exists()


@pytest.mark.parametrize(
    "act",
    [
        lambda row: OrgFlag.objects.update_or_create(name="sale", defaults={"everyone": True}),
        lambda row: [row.delete(), OrgFlag.objects.create(name="sale", everyone=True)],
        lambda row: _renamed(row).save(),
        lambda row: [_renamed(row).save(), OrgFlag.objects.create(name="sale", everyone=True)],
        lambda row: override_flag("sale", active=True).__enter__(),
    ],
)
def test_rows_do_not_turn_killed_flag_on(act: Callable[[Any], Any], row: Any, user: User) -> None:
    changes.flags.disable("sale")
    act(OrgFlag.objects.get())
    for name in OrgFlag.objects.values_list("name", flat=True):
        assert waffle.flag_is_active(request_of(user), name) is False
    assert not FeatureFlag.objects.filter(enabled=True).exists()


def test_row_that_is_deleted_takes_its_flag_along(row: Any) -> None:
    row.delete()
    assert not FeatureFlag.objects.filter(key="sale").exists()


def test_method_that_a_decorator_of_the_class_replaces_is_guarded(row: Any, user: User) -> None:
    class Decorated(OrgFlag):  # type: ignore[misc, valid-type]
        class Meta(OrgFlag.Meta):  # type: ignore[misc, name-defined]
            proxy = True
            app_label = "own_code"

    original = Decorated.is_active_for_user
    replaced: Any = lambda self, user: original(self, user) is None or True  # noqa: E731
    replaced.__dict__.update(original.__dict__)
    Decorated.is_active_for_user = replaced
    guard(Decorated)
    guard(Decorated)
    changes.flags.disable("sale")
    assert Decorated.objects.get().is_active_for_user(user) is None


def test_class_method_of_project_is_guarded_by_the_functions(
    row: Any, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OrgFlag, "is_active", classmethod(lambda cls, *_, **__: True))
    guard(OrgFlag)
    assert waffle.flag_is_active(request_of(user), "sale")
    changes.flags.disable("sale")
    assert waffle.flag_is_active(request_of(user), "sale") is False


def test_rows_with_own_code_keep_the_pages_of_waffle(row: Any, admin_client: Client) -> None:
    path = "/admin/own_code/orgflag/"
    assert admin_client.get(path).status_code == 200
    assert b"is off" not in admin_client.get(f"{path}{row.pk}/change/").content
    changes.flags.disable("sale")
    content = admin_client.get(f"{path}{row.pk}/change/").content
    assert content.count(b"is off, so this is off for everybody") == 1
    answer = admin_client.post(f"{path}{row.pk}/change/", _FORM)
    assert answer.status_code == 302, answer.context["errors"]
    assert OrgFlag.objects.get().everyone is True
    assert not FeatureFlag.objects.get(key="sale").enabled


_FORM = {"name": "sale", "everyone": "true", "organization": "acme"} | {
    f"{name}_{part}": text
    for name in ("created", "modified")
    for part, text in (("0", "2026-01-01"), ("1", "00:00"))
}


def test_pages_of_waffle_need_the_permissions_of_waffle(
    row: Any, user: User, client: Client
) -> None:
    client.force_login(user)
    assert client.get("/admin/own_code/orgflag/").status_code == 403


def test_functions_of_killed_asynchronous_flag_can_be_awaited(
    row: Any, user: User, settings: Any
) -> None:
    settings.WAFFLE_FLAG_MODEL = "own_code.AsyncFlag"
    assert iscoroutinefunction(AsyncFlag.is_active)
    results = []
    for change in (changes.flags.enable, changes.flags.disable):
        change("sale")
        results.append(asyncio.run(_await(waffle.flag_is_active(request_of(user), "sale"))))
    assert results == [True, False]
