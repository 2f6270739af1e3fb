"""The context processor `flags`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.template import engines

from flagstaff.context_processors import flags
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.shop import Shop
from tests.support.views import request_of, with_flags

pytestmark = pytest.mark.django_db
ALICE = User(pk=1, username="alice")


@pytest.fixture(autouse=True)
def processor(settings: Any, shop: Shop) -> None:
    shop.flag(rollout_percent=0)
    shop.value()
    settings.TEMPLATES = deepcopy(settings.TEMPLATES)
    options = settings.TEMPLATES[0]["OPTIONS"]
    options["context_processors"].append("flagstaff.context_processors.flags")


def rendered(request: HttpRequest | None, text: str) -> str:
    return str(engines["django"].from_string(text).render({"cart": 3}, request))


def test_flags_work_in_expressions() -> None:
    text = "{% if flags.new_checkout and cart > 2 %}new{% endif %}{% if flags.banner %}!{% endif %}"
    assert rendered(request_of(ALICE), text) == "new"


def test_flags_are_those_of_middleware() -> None:
    request = with_flags(request_of(ALICE))
    assert flags(request)["flags"] is request.flags


def test_templates_of_request_without_middleware_share_snapshot() -> None:
    text = (
        "{% load flagstaff %}{{ flags.new_checkout }} {% value 'payment_gateway' %} "
        "{% flag 'new_checkout' %}new{% endflag %}"
    )
    request = request_of(ALICE)
    assert rendered(request, text) == "True stripe new"
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value="paypal")
    assert rendered(request, text) == "True stripe new"


def test_template_without_flags_or_request_does_not_read_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("flagstaff._engine.direct.select")
    assert rendered(request_of(ALICE), "{{ cart }}") == "3"
    assert rendered(None, "[{{ flags.new_checkout }}]") == "[]"
