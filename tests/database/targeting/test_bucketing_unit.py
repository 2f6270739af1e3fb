"""The bucketing unit of a flag: how it is changed, recorded, exported and described."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils.functional import SimpleLazyObject

from flagstaff import all_flags, changes, explain, flag_enabled
from flagstaff._engine import log_once
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history.describe import describe_change
from flagstaff.models import FeatureFlag
from flagstaff.testing import override_flag
from tests.support.fixtures import COMMITTED, Load
from tests.support.history import flag_history

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each problem is logged once per process; here, once per test."""
    monkeypatch.setattr(log_once, "_logged", set())


@pytest.fixture
def flag(db: None) -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


def set_unit(unit: object) -> changes.Changed:
    return changes.flags.update("new_checkout", {"bucket_by": unit})


def stored_unit() -> str:
    return FeatureFlag.objects.values_list("bucket_by", flat=True).get()


def newest_description() -> str:
    return describe_change(next(iter(flag_history("new_checkout"))))


# Changes.


def test_unit_is_created_and_updated_and_recorded() -> None:
    changes.flags.create("new_checkout", bucket_by="organization")
    assert stored_unit() == "organization"
    assert "bucketing unit organization" in newest_description()
    assert not set_unit("organization").written
    changed = set_unit("visitor")
    assert (changed.old, changed.new) == ({"bucket_by": "organization"}, {"bucket_by": "visitor"})
    assert stored_unit() == "visitor"


@pytest.mark.parametrize(
    ("unit", "message"),
    [("", "cannot be blank"), (None, "cannot be null"), ("groups", "bucketing unit")],
)
def test_unusable_unit_is_refused(flag: FeatureFlag, unit: object, message: str) -> None:
    for write in (set_unit, lambda unit: changes.flags.create("search", bucket_by=unit)):
        with pytest.raises(InvalidChangeError, match=f"^bucket_by: .*{message}"):
            write(unit)
    assert stored_unit() == "user"


def test_unit_that_changed_since_it_was_read_is_a_conflict(flag: FeatureFlag) -> None:
    set_unit("visitor")
    with pytest.raises(ConflictError):
        changes.flags.update("new_checkout", {"bucket_by": "plan"}, expect={"bucket_by": "user"})


# Tests of projects.


@pytest.mark.parametrize("enabled", [True, False])
def test_override_decides_whatever_the_unit_is(flag: FeatureFlag, enabled: bool) -> None:
    set_unit("visitor")
    with override_flag("new_checkout", enabled):
        assert flag_enabled("new_checkout", 2) is enabled
        assert explain("new_checkout", 2).bucket_by is None


# Evaluation. tests/conformance has the results.


def bucket(unit: str) -> int:
    return int(hashlib.sha256(f"new_checkout:{unit}".encode()).hexdigest(), 16) % 100


def test_column_of_the_user_object_decides(
    flag: FeatureFlag, load: Load, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["last_name"]}
    FeatureFlag.objects.update(bucket_by="last_name", rollout_percent=50)
    load()
    for name in ("Ada", "Grace", "Edsger"):
        user = User(pk=1, last_name=name)
        assert flag_enabled("new_checkout", user) is (bucket(name) < 50)
        assert all_flags(user) == {"new_checkout": bucket(name) < 50}
    assert flag_enabled("new_checkout", 1) is False
    assert "pass the user object" in caplog.text


# Direct mode has to look up the allowed users.
@pytest.mark.parametrize("load", [pytest.param("memory", marks=COMMITTED)], indirect=True)
def test_lazy_user_is_not_read_for_a_visitor(flag: FeatureFlag, load: Load) -> None:
    set_unit("visitor")
    load()
    user: Any = SimpleLazyObject(lambda: pytest.fail("reads the user"))
    context = {"visitor": "a"}
    assert flag_enabled("new_checkout", user, context=context) is (bucket("a") < 25)
