"""Percentages of visitors and of the values of an attribute, from memory and in direct mode."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser, User
from django.utils.functional import SimpleLazyObject

from flagstaff import _core, all_flags, explain, flag_enabled, refresh
from flagstaff._engine import log_once
from flagstaff._engine.attributes import RequestContext
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine

pytestmark = pytest.mark.django_db(transaction=True, available_apps=django_settings.INSTALLED_APPS)

KEY = "new_checkout"

Create = Callable[..., None]


@pytest.fixture(params=["memory", "direct"])
def create(request: pytest.FixtureRequest, settings: Any) -> Iterator[Create]:
    """Creates a flag at 50 %, in the mode of the test."""
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["last_name"]}
    in_memory = request.param == "memory"

    def create_flag(bucket_by: str, rollout_percent: int = 50, **columns: Any) -> None:
        FeatureFlag.objects.create(
            key=KEY, enabled=True, rollout_percent=rollout_percent, bucket_by=bucket_by, **columns
        )
        if in_memory:
            refresh()

    with live_engine() if in_memory else nullcontext():
        yield create_flag


def bucket(unit: str) -> int:
    return int(hashlib.sha256(f"{KEY}:{unit}".encode()).hexdigest(), 16) % 100


def test_attribute_of_the_context_decides_for_all_users(create: Create) -> None:
    create("organization")
    for organization in ("acme", "globex", "initech", "umbrella", 7, "42"):
        context = {"organization": organization}
        expected = bucket(str(organization)) < 50
        for user in (None, AnonymousUser(), 1, "2", User(pk=3)):
            assert flag_enabled(KEY, user, context=context) is expected
            found = explain(KEY, user, context=context)
            assert (found.value, found.reason) == (expected, "SPLIT")
            assert found.bucket == bucket(str(organization))


def test_column_of_the_user_decides(create: Create) -> None:
    create("last_name")
    for name in ("Ada", "Grace", "Edsger"):
        user = User(pk=1, last_name=name)
        assert flag_enabled(KEY, user) is (bucket(name) < 50)
        assert all_flags(user)[KEY] is (bucket(name) < 50)


def test_bucket_by_attribute_that_is_missing_is_off_by_default(create: Create) -> None:
    create("organization", 99)
    for context in (None, {}, {"organization": None}, {"organization": ""}, {"organization": True}):
        assert flag_enabled(KEY, 1, context=context) is False
        found = explain(KEY, 1, context=context)
        assert (found.value, found.reason, found.bucket) == (False, "DEFAULT", None)


def test_allowed_user_has_the_flag_whatever_the_unit(create: Create) -> None:
    user = User.objects.create(username="ada")
    create("organization", 0)
    FeatureFlag.objects.get().allowed_users.add(user)
    refresh()
    assert flag_enabled(KEY, user) is True
    assert flag_enabled(KEY, user.pk) is True


def test_rule_and_rollout_bucket_by_the_same_unit(create: Create) -> None:
    condition = {"attribute": "plan", "operator": "in", "values": ["pro"]}
    create("organization", 10, rules=[{"conditions": [condition], "rollout_percent": 90}])
    for organization in map(str, range(20)):
        context = {"organization": organization}
        assert flag_enabled(KEY, 1, context=context) is (bucket(organization) < 10)
        assert flag_enabled(KEY, 1, context={**context, "plan": "pro"}) is (
            bucket(organization) < 90
        )


def test_visitor_of_the_context_decides(create: Create) -> None:
    create("visitor")
    for visitor in ("a", "b", "c", 5):
        expected = bucket(str(visitor)) < 50
        for user in (None, AnonymousUser(), 1, User(pk=3)):
            assert flag_enabled(KEY, user, context={"visitor": visitor}) is expected
        snapshot = _core.snapshot(context={"visitor": visitor})
        assert snapshot.flag_enabled(KEY) is expected
        assert snapshot.flag_enabled(KEY, 1, context={"visitor": "d"}) is (bucket("d") < 50)


def test_visitor_outside_a_request_is_missing(create: Create) -> None:
    create("visitor", 99)
    assert flag_enabled(KEY, 1) is False
    assert explain(KEY, 1).reason == "DEFAULT"


def test_visitor_is_drawn_only_for_a_percentage(
    create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bool] = []
    context = RequestContext(object())
    monkeypatch.setattr(context, "visitor", drawn.append)
    for percent in (0, 100):
        FeatureFlag.objects.all().delete()
        create("visitor", percent)
        _core.snapshot(context=context).flag_enabled(KEY, 1)
    assert drawn == []


# Direct mode has to look up the allowed users.
@pytest.mark.parametrize("create", ["memory"], indirect=True)
def test_lazy_user_is_not_read_for_a_visitor(create: Create) -> None:
    create("visitor")
    user: Any = SimpleLazyObject(lambda: pytest.fail("reads the user"))
    assert flag_enabled(KEY, user, context={"visitor": "a"}) is (bucket("a") < 50)


def test_flag_bucketed_by_user_is_as_without_the_column(create: Create) -> None:
    create("user")
    for pk in range(10):
        assert flag_enabled(KEY, pk) is (bucket(str(pk)) < 50)


def test_needed_user_is_logged_for_a_unit_that_is_a_column(
    create: Create, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_once, "_logged", set())
    create("last_name")
    assert flag_enabled(KEY, 1) is False
    assert "pass the user object" in caplog.text
