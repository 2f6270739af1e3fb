"""Settings that a test changes after the first evaluation, in memory and in direct mode."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import override_settings

from flagstaff import experiments, flag_enabled
from flagstaff.exceptions import ConfigurationError, UnknownFlagError
from flagstaff.experiments import explain_variant
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.support.fixtures import COMMITTED, Load
from tests.support.views import request_of, with_flags

STAFF_MAIL = [{"attribute": "email", "operator": "endswith", "values": ["@shop.example"]}]


#: With a mail address that a rule reads.
ADA = User(pk=1, email="ada@shop.example")


def is_crawler(_request: HttpRequest) -> bool:
    return True


def raises_for_unknown_key() -> bool:
    try:
        return flag_enabled("missing")
    except UnknownFlagError:
        return True


def excludes_crawlers() -> bool:
    request = with_flags(request_of(None))
    return explain_variant("button", 1, context=request.flags.context).reason == "CRAWLER"


@pytest.mark.parametrize(
    ("changed", "has_changed"),
    [
        ({"UNKNOWN_KEY": "raise"}, raises_for_unknown_key),
        ({"ATTRIBUTES": ["email"]}, lambda: flag_enabled("beta", ADA)),
        ({"IS_CRAWLER": f"{__name__}.is_crawler"}, excludes_crawlers),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_setting_that_the_extension_keeps_follows_a_change(
    load: Load, changed: dict[str, Any], has_changed: Any
) -> None:
    FeatureFlag.objects.create(key="beta", enabled=True, rules=[{"conditions": STAFF_MAIL}])
    experiments.create("button")
    experiments.start("button")
    load()
    results = [has_changed()]
    with override_settings(FLAGSTAFF=changed):
        results.append(has_changed())
    results.append(has_changed())
    assert results == [False, True, False]


@COMMITTED
def test_setting_of_the_engine_can_change_only_before_its_start() -> None:
    with override_settings(FLAGSTAFF={"POLL_INTERVAL": 1}):
        with live_engine():
            with (
                pytest.raises(ConfigurationError, match=r"POLL_INTERVAL.* before live_engine"),
                override_settings(FLAGSTAFF={"POLL_INTERVAL": 2}),
            ):
                pass
            with override_settings(FLAGSTAFF={"POLL_INTERVAL": 1, "READ_ONLY": True}):
                pass
        with override_settings(FLAGSTAFF={"POLL_INTERVAL": 2}):
            pass
