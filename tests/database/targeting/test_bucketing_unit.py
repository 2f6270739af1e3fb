"""The bucketing unit of a flag: how it is changed, recorded, exported and described."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils.functional import SimpleLazyObject

from flagstaff import _log, all_flags, changes, explain, flag_enabled
from flagstaff.history.describe import describe_change
from flagstaff.testing import override_flag
from tests.support.fixtures import COMMITTED, Load
from tests.support.history import flag_history
from tests.support.shop import Shop

KEY = "new_checkout"


@pytest.fixture(autouse=True)
def nothing_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each problem is logged once per process; here, once per test."""
    monkeypatch.setattr(_log, "_logged", set())


def test_unit_is_created_and_updated_and_recorded(shop: Shop) -> None:
    changes.flags.create(KEY, bucket_by="organization")
    assert shop.flag().bucket_by == "organization"
    assert "bucketing unit organization" in describe_change(flag_history(KEY)[0])
    assert not changes.flags.update(KEY, {"bucket_by": "organization"}).written
    changed = changes.flags.update(KEY, {"bucket_by": "visitor"})
    assert (changed.old, changed.new) == ({"bucket_by": "organization"}, {"bucket_by": "visitor"})
    assert shop.flag().bucket_by == "visitor"


@pytest.mark.parametrize("enabled", [True, False])
def test_override_decides_whatever_the_unit_is(enabled: bool, shop: Shop) -> None:
    shop.flag(bucket_by="visitor")
    with override_flag(KEY, enabled):
        assert flag_enabled(KEY, 2) is enabled
        assert explain(KEY, 2).bucket_by is None


# Evaluation. tests/conformance has the results.


def test_column_of_the_user_object_decides(
    shop: Shop, load: Load, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["last_name"]}
    shop.flag(bucket_by="last_name", rollout_percent=50)
    load()
    # In the buckets 76, 29 and 0.
    for name, result in (("Ada", False), ("Grace", True), ("Edsger", True)):
        user = User(pk=2, last_name=name)
        assert flag_enabled(KEY, user) is result
        assert all_flags(user) == {KEY: result}
    assert flag_enabled(KEY, 2) is False
    assert "pass the user object" in caplog.text


# Direct mode has to look up the allowed users.
@pytest.mark.parametrize("load", [pytest.param("memory", marks=COMMITTED)], indirect=True)
def test_lazy_user_is_not_read_for_a_visitor(shop: Shop, load: Load) -> None:
    shop.flag("visitor_banner")
    load()
    user: Any = SimpleLazyObject(lambda: pytest.fail("reads the user"))
    # In the buckets 6 and 83.
    assert flag_enabled("visitor_banner", user, context={"visitor": "a"}) is True
    assert flag_enabled("visitor_banner", user, context={"visitor": "c"}) is False
