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
from tests.support.views import request_of, with_flags

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def processor(settings: Any) -> None:
    settings.TEMPLATES = deepcopy(settings.TEMPLATES)
    options = settings.TEMPLATES[0]["OPTIONS"]
    options["context_processors"].append("flagstaff.context_processors.flags")


@pytest.fixture
def request_of_alice(alice: User, new_checkout: FeatureFlag, gateway: KeyValueStore) -> Any:
    """A request of an allowed user."""
    return request_of(alice)


def rendered(request: HttpRequest | None, text: str) -> str:
    return str(engines["django"].from_string(text).render({"cart": 3}, request))


def test_flags_work_in_expressions(request_of_alice: HttpRequest) -> None:
    text = "{% if flags.new_checkout and cart > 2 %}new{% endif %}{% if flags.banner %}!{% endif %}"
    assert rendered(request_of_alice, text) == "new"


def test_flags_are_those_of_middleware(request_of_alice: Any) -> None:
    assert flags(with_flags(request_of_alice))["flags"] is request_of_alice.flags


def test_templates_of_request_without_middleware_share_snapshot(
    request_of_alice: HttpRequest,
) -> None:
    text = (
        "{% load flagstaff %}{{ flags.new_checkout }} {% value 'gateway' %} "
        "{% flag 'new_checkout' %}new{% endflag %}"
    )
    assert rendered(request_of_alice, text) == "True stripe new"
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value="paypal")
    assert rendered(request_of_alice, text) == "True stripe new"


def test_template_without_flags_or_request_does_not_read_database(
    request_of_alice: HttpRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("flagstaff._engine.direct.select")
    assert rendered(request_of_alice, "{{ cart }}") == "3"
    assert rendered(None, "[{{ flags.new_checkout }}]") == "[]"
