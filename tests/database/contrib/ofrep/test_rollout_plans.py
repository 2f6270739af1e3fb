"""Rollout plans measure requests in which a feature runs, and not those that only read flags."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings

from flagstaff import flag_enabled
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.support import ofrep
from tests.support.fixtures import COMMITTED
from tests.support.measured_plans import KEY, counted, start_run
from tests.support.ofrep import BEARER, one
from tests.support.sql import rows


def page(request: HttpRequest) -> HttpResponse:
    """A page in which the feature runs."""
    return HttpResponse(str(flag_enabled(KEY, request.user)))


urlpatterns: list[Any] = [*ofrep.urlpatterns, path("page", page)]


def query(statement: str, *parameters: Any) -> Any:
    [row] = rows(statement, *parameters)
    return row


@COMMITTED
@pytest.mark.usefixtures("configure")
def test_rollout_plan_does_not_measure_requests_of_ofrep(
    client: Client, alice: User, settings: Settings
) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    fields = {"enabled": True, "rollout_percent": 33, "client_side": True}
    FeatureFlag.objects.create(key=KEY, **fields)
    client.force_login(alice)
    run = start_run(query, limits="{}")
    with live_engine():
        one(client, KEY)
        one(client, KEY, {"targetingKey": "7"}, **BEARER)
    assert counted(query, run, "r") == (0, 0)
    with live_engine():
        client.get("/page")
    assert sum(counted(query, run, "r")) == 1
