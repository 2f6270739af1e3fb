"""What waffle's own tests leave out, evaluated through Serve."""

from __future__ import annotations

from typing import Any, cast

import pytest
import waffle
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from waffle.models import Flag, Sample, Switch

from flagstaff import changes
from flagstaff.compat import serve
from flagstaff.compat.converting import Status
from flagstaff.middleware import FlagstaffMiddleware
from tests.support.waffle_rows import take_over

pytestmark = pytest.mark.django_db

KEPT = {"SERVE": True, "KEEP_COOKIES_UNTIL": "9999-12-31"}


@pytest.fixture(autouse=True)
def _served(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": KEPT}
    cache.clear()


def is_on(name: str, user: Any = None, language: str | None = None, **query: str) -> bool | None:
    """The result for a request with this user, which is in a browser with the cookie `kept`."""
    request: Any = RequestFactory().get("/", query)
    if user is not None:
        request.user = user
    if language is not None:
        request.LANGUAGE_CODE = language
    return waffle.flag_is_active(request, name)


def browser(name: str, kept: str, language: str) -> bool | None:
    """The result in a browser of an anonymous user to which waffle has given a result before."""
    request: Any = RequestFactory().get("/")
    request.user, request.LANGUAGE_CODE = AnonymousUser(), language
    request.COOKIES[f"dwf_{name}"] = kept
    return waffle.flag_is_active(request, name)


# A request without a user.


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"percent": "99.9"}, False),
        ({"authenticated": True, "staff": True}, False),
        ({"languages": "de,fr"}, True),
        ({"everyone": True}, True),
        ({"everyone": False, "languages": "fr"}, False),
    ],
)
def test_request_without_user_gets_only_what_needs_no_user(
    fields: dict[str, Any], expected: bool
) -> None:
    Flag.objects.create(name="new_checkout", **fields)
    take_over()
    assert is_on("new_checkout", language="fr") is expected


def test_request_without_user_does_not_get_flag_by_cookie() -> None:
    Flag.objects.create(name="new_checkout", percent="50")
    take_over()
    request = RequestFactory().get("/")
    request.COOKIES["dwf_new_checkout"] = "True"
    assert waffle.flag_is_active(request, "new_checkout") is False


def test_call_without_request_gets_no_percentage_of_the_current_visitor() -> None:
    Flag.objects.create(name="new_checkout", percent="99")
    take_over()
    results, no_request = set(), cast("Any", None)

    def view(_request: HttpRequest) -> HttpResponse:
        results.add(waffle.flag_is_active(no_request, "new_checkout"))
        return HttpResponse()

    for _ in range(5):
        FlagstaffMiddleware(view)(RequestFactory().get("/"))
    assert results == {False}


# `testing` with listed users.


@pytest.fixture
def tested(alice: User) -> Any:
    """A flag in testing that alice has."""
    flag: Any = Flag.objects.create(name="new_checkout", testing=True)
    flag.users.add(alice)
    return flag


@pytest.mark.usefixtures("tested")
def test_listed_user_of_flag_in_testing_has_it_without_parameter(alice: User, bob: User) -> None:
    take_over()
    assert (is_on("new_checkout", alice), is_on("new_checkout", bob)) == (True, False)


@pytest.mark.usefixtures("tested")
def test_user_who_is_not_listed_has_flag_with_test_parameter_only(bob: User) -> None:
    take_over()
    assert is_on("new_checkout", bob, dwft_new_checkout="1") is True
    assert is_on("new_checkout", bob, dwft_new_checkout="0") is False


@pytest.mark.usefixtures("tested")
def test_listed_user_keeps_flag_with_test_parameter_off_as_announced(alice: User) -> None:
    announced = take_over()["flag", "new_checkout"]
    assert is_on("new_checkout", alice, dwft_new_checkout="0") is True
    assert (announced.status, announced.notes) == (
        Status.DIFFERS,
        ("its users keep the flag with dwft_…=0",),
    )


def test_test_parameter_takes_flag_from_staff(bob: User) -> None:
    bob.is_staff = True
    Flag.objects.create(name="new_checkout", testing=True, staff=True)
    take_over()
    assert is_on("new_checkout", bob) is True
    assert is_on("new_checkout", bob, dwft_new_checkout="0") is False


def test_parameter_of_flag_that_is_not_in_testing_is_not_kept(alice: User) -> None:
    Flag.objects.create(name="new_checkout", authenticated=True)
    take_over()
    request: Any = RequestFactory().get("/", {"dwft_new_checkout": "1"})
    request.user = alice
    assert waffle.flag_is_active(request, "new_checkout") is True
    assert not hasattr(request, "waffle_tests")


@pytest.mark.usefixtures("tested")
def test_parameter_of_listed_user_is_kept_for_the_time_after(alice: User) -> None:
    take_over()
    request: Any = RequestFactory().get("/", {"dwft_new_checkout": "1"})
    request.user = alice
    assert waffle.flag_is_active(request, "new_checkout") is True
    assert request.waffle_tests == {"new_checkout": True}


# A percentage with a language.


@pytest.mark.parametrize(
    ("kept", "language", "expected"),
    [
        ("False", "fr", True),
        ("False", "de", False),
        ("True", "de", True),
    ],
)
def test_language_gives_flag_and_cookie_decides_for_other_languages(
    kept: str, language: str, expected: bool
) -> None:
    Flag.objects.create(name="new_checkout", percent="50", languages="fr")
    take_over()
    assert browser("new_checkout", kept, language) is expected


# Groups.


@pytest.fixture
def testers(alice: User) -> Group:
    """A group of alice, whose users have a flag."""
    group = Group.objects.create(name="testers")
    alice.groups.add(group)
    flag: Any = Flag.objects.create(name="new_checkout")
    flag.groups.add(group)
    return group


def test_users_of_renamed_group_have_flag_again_after_next_import(
    testers: Group, alice: User
) -> None:
    take_over()
    assert is_on("new_checkout", alice) is True
    testers.name = "early birds"
    testers.save()
    assert is_on("new_checkout", User.objects.get(pk=alice.pk)) is False
    take_over()
    assert is_on("new_checkout", User.objects.get(pk=alice.pk)) is True


# One name for a flag, a switch and a sample.


def test_flag_switch_and_sample_of_one_name_are_evaluated_by_their_keys(
    settings: Any, alice: User
) -> None:
    keys = {"switch:checkout": "checkout.switch", "sample:checkout": "checkout.sample"}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {**KEPT, "KEYS": keys}}
    Flag.objects.create(name="checkout", everyone=True)
    Switch.objects.create(name="checkout", active=False)
    Sample.objects.create(name="checkout", percent=100)
    found = take_over()
    assert {one.key for one in found.values()} == {"checkout", *keys.values()}
    assert is_on("checkout", alice) is True
    assert waffle.switch_is_active("checkout") is False
    assert waffle.sample_is_active("checkout") is True


# A flag that code has changed and not saved.


def test_flag_that_is_changed_and_not_saved_is_evaluated_by_waffle(alice: User) -> None:
    flag: Any = Flag.objects.create(name="new_checkout")
    take_over()
    flag.everyone = True
    assert flag.is_active_for_user(alice) is True
    assert is_on("new_checkout", alice) is False


def test_saved_flag_is_served_again(alice: User) -> None:
    flag: Any = Flag.objects.create(name="new_checkout")
    flag.everyone = True
    flag.save()
    take_over()
    changes.disable("new_checkout")
    assert flag.is_active_for_user(alice) is False


def test_flag_that_was_read_again_is_served_again(alice: User) -> None:
    flag: Any = Flag.objects.create(name="new_checkout", everyone=True)
    take_over()
    changes.disable("new_checkout")
    flag.everyone = False
    flag.refresh_from_db(fields=["note"])
    assert flag.is_active_for_user(alice) is None
    Flag.objects.update(everyone=None)
    flag.refresh_from_db()
    assert flag.is_active_for_user(alice) is False


def test_flag_from_cache_that_is_older_than_the_app_is_served(alice: User) -> None:
    Flag.objects.create(name="new_checkout", everyone=True)
    take_over()
    changes.disable("new_checkout")
    flag: Any = Flag.objects.get()
    del flag.__dict__[serve._EVERYONE]
    assert flag.is_active_for_user(alice) is False


# Percentages of users.


def test_anonymous_user_has_no_percentage_of_users_as_announced(settings: Any) -> None:
    options = {**KEPT, "PERCENT_OF": "users"}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": options}
    Flag.objects.create(name="new_checkout", percent="99.9")
    announced = take_over()["flag", "new_checkout"]
    assert is_on("new_checkout", AnonymousUser()) is False
    assert browser("new_checkout", kept="True", language="en") is True
    assert "users who are not logged in do not have it, unless a cookie says so" in announced.notes
