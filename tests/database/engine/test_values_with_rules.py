"""For whom a value with rules is evaluated, and who hears of it."""

import logging
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.utils.functional import SimpleLazyObject

from flagstaff import _log, get_value, listeners, resolve_value, snapshot
from flagstaff.listeners import Evaluation
from flagstaff.models import KeyValueStore
from tests.support.fixtures import Load
from tests.support.shop import GERMAN, STAFF
from tests.support.sql import rows
from tests.support.stored import create_value
from tests.support.templates import in_django, in_jinja2
from tests.support.views import flagged_request_of

STAFF_USER = User(pk=7, is_staff=True)


@pytest.fixture(autouse=True, name="reload")
def with_values(load: Load) -> Load:
    create_value("for_staff", {"conditions": [STAFF], "value": 50})
    create_value("for_germans", {"conditions": [GERMAN], "value": [50]})
    create_value("for_half", {"conditions": [], "rollout_percent": 50, "value": 50})
    create_value("secret", {"conditions": [STAFF], "value": "s3cret"}, value="s", secret=True)
    create_value("plain")
    load()
    return load


def request_of(user: Any) -> Any:
    """A request whose user is lazy, as that of Django's middleware."""
    return flagged_request_of(SimpleLazyObject(lambda: user() if callable(user) else user))


#: Reads the user of a request.
NOT_READ = partial(pytest.fail, "the user was read")


def test_request_evaluates_for_its_user() -> None:
    assert request_of(STAFF_USER).flags.value("for_staff") == 50
    assert request_of(AnonymousUser()).flags.value("for_staff") == 10
    assert request_of(STAFF_USER).flags.value("for_germans", context={"country": "DE"}) == [50]


def test_request_does_not_read_the_user_for_a_value_that_does_not_need_it() -> None:
    flags = request_of(NOT_READ).flags
    flags.context["country"] = "DE"
    assert flags.value("plain") == 10
    assert flags.value("for_germans") == [50]
    assert flags.value("missing", 3) == 3


def test_async_view_reads_the_user_only_for_a_value_that_needs_it() -> None:
    request = request_of(NOT_READ)
    reads = []

    async def auser() -> User:
        reads.append(1)
        return STAFF_USER

    async def values() -> list[object]:
        return [await request.flags.avalue(key) for key in ("for_staff", "for_germans", "plain")]

    request.auser = auser
    assert async_to_sync(values)() == [50, 10, 10]
    assert len(reads) == 1


@pytest.mark.parametrize(
    ("render", "text", "for_other"),
    [
        (
            in_django,
            "{% value 'for_staff' %} {% value 'for_germans' country='DE' %}",
            "{% value 'for_staff' user=other %}",
        ),
        (
            in_jinja2,
            "{{ get_value('for_staff') }} {{ get_value('for_germans', context=german) }}",
            "{{ get_value('for_staff', user=other) }}",
        ),
    ],
)
def test_template_evaluates_for_the_user_of_the_request_or_a_given_one(
    render: Any, text: str, for_other: str
) -> None:
    german = {"country": "DE"}
    assert render(text, german=german, request=request_of(STAFF_USER)) == "50 [50]"
    assert render(text, german=german, user=STAFF_USER) == "50 [50]"
    assert render(text, german=german) == "10 [50]"
    assert render(for_other, other=STAFF_USER, request=request_of(AnonymousUser())) == "50"
    assert render(for_other, request=request_of(STAFF_USER)) == "10"


def test_result_of_a_rule_is_a_new_list_each_time() -> None:
    first = get_value("for_germans", context={"country": "DE"})
    first.append(1)
    assert get_value("for_germans", context={"country": "DE"}) == [50]


def test_value_that_gets_rules_is_no_longer_the_same_for_everyone(reload: Load) -> None:
    assert get_value("plain", user=STAFF_USER) == 10
    KeyValueStore.objects.filter(key="plain").update(rules=[{"conditions": [STAFF], "value": 50}])
    reload()
    assert get_value("plain", user=STAFF_USER) == 50
    KeyValueStore.objects.filter(key="plain").update(rules=[])
    reload()
    assert get_value("plain", user=STAFF_USER) == 10


@pytest.mark.parametrize("wrong", [{"user": 1.5}, {"context": 5}])
def test_wrong_argument_raises_for_every_value(wrong: Any) -> None:
    for key in ("plain", "for_staff", "missing"):
        with pytest.raises(TypeError):
            get_value(key, **wrong)


def test_listener_gets_the_rule_and_no_secret() -> None:
    heard: list[Evaluation] = []
    remove = listeners.add(heard.append)
    try:
        assert get_value("for_staff", user=STAFF_USER) == 50
        assert snapshot().get_value("secret", user=STAFF_USER) == "s3cret"
    finally:
        remove()
    assert [
        (evaluation.key, evaluation.value, evaluation.reason, evaluation.rule)
        for evaluation in heard
    ] == [("for_staff", 50, "TARGETING_MATCH", 1), ("secret", "********", "TARGETING_MATCH", 1)]


def test_missing_user_is_logged_once_per_value(caplog: pytest.LogCaptureFixture) -> None:
    _log.after_fork()
    with caplog.at_level(logging.WARNING, "flagstaff"):
        for _ in range(2):
            assert get_value("for_staff") == 10
            assert get_value("for_half") == 10
            get_value("for_germans", context={"country": "AT"})
            get_value("for_staff", user=STAFF_USER)
            get_value("plain")
    assert [record.message.split(" need ")[0] for record in caplog.records] == [
        "the rules of value 'for_staff'",
        "the rules of value 'for_half'",
    ]


def test_anonymous_user_is_not_logged_as_missing(caplog: pytest.LogCaptureFixture) -> None:
    _log.after_fork()
    with caplog.at_level(logging.WARNING, "flagstaff"):
        assert get_value("for_staff", user=AnonymousUser()) == 10
        assert request_of(AnonymousUser()).flags.value("for_half") == 10
    assert caplog.records == []


def test_unreadable_rules_give_everyone_the_value_itself(reload: Load) -> None:
    create_value("unreadable", value=11)
    rows("UPDATE flagstaff_keyvaluestore SET rules = '[1]' WHERE key = 'unreadable'")
    reload()
    result = resolve_value("unreadable", user=STAFF_USER)
    assert (result.value, result.reason, result.error_code) == (11, "STATIC", None)
