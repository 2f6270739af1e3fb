"""Flags that FLAGSTAFF_FORCE_OFF turns off, with rows that say something else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.template import engines
from django.test import Client
from django.urls import include, path
from django.views import View
from jinja2 import Environment
from rest_framework.test import force_authenticate
from rest_framework.views import APIView

from flagstaff import all_flags, explain, flag_enabled, read_own_writes, snapshot
from flagstaff.contrib.drf import HasFlag
from flagstaff.decorators import flag_required
from flagstaff.mixins import FlagRequiredMixin
from flagstaff.models import FeatureFlag
from flagstaff.testing import override_flag
from tests.support.fixtures import Load
from tests.support.forced_off import forced_off
from tests.support.views import content_of, new, old, request_of, with_flags

urlpatterns = [path("flags/", include("flagstaff.urls"))]

KEY = "new_checkout"


class NewCheckout(FlagRequiredMixin, View):
    flag_key = KEY
    flag_otherwise = old
    get = staticmethod(new)


class NewApi(APIView):  # type: ignore[misc]
    permission_classes = [HasFlag(KEY)]


@pytest.fixture
def on_for_all(load: Load) -> Iterator[None]:
    """Two flags that are on for all users, one of which the environment turns off."""
    for key in (KEY, "banner"):
        FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100, client_side=True)
    load()
    with forced_off([KEY]):
        yield


@pytest.fixture
def alice() -> User:
    return User(pk=42, username="alice")


@pytest.mark.usefixtures("on_for_all")
def test_forced_off_flag_is_off_in_every_function() -> None:
    assert (flag_enabled(KEY, 42, default=True), flag_enabled("banner", 42)) == (False, True)
    assert all_flags(42) == snapshot().all_flags(42) == {KEY: False, "banner": True}
    with read_own_writes():
        assert flag_enabled(KEY, 42) is False
    explanation = explain(KEY, 42)
    assert (explanation.reason, explanation.override) == ("DISABLED", "FLAGSTAFF_FORCE_OFF")
    assert explain("banner", 42).override is None


@pytest.mark.usefixtures("on_for_all")
def test_forced_off_flag_is_off_in_requests_and_views(alice: User) -> None:
    request = with_flags(request_of(alice))
    assert (request.flags.enabled(KEY), request.flags.enabled("banner")) == (False, True)
    assert request.flags.all() == {KEY: False, "banner": True}
    template = '{% load flagstaff %}{% flag "new_checkout" %}new{% else %}old{% endflag %}'
    assert engines["django"].from_string(template).render({}, request) == "old"
    jinja2 = Environment(
        extensions=["flagstaff.contrib.jinja2.FlagstaffExtension"], autoescape=True
    )
    template = '{% flag "new_checkout" %}new{% else %}old{% endflag %}'
    assert jinja2.from_string(template).render(request=request) == "old"
    for view in (flag_required(KEY, otherwise=old)(new), NewCheckout.as_view()):
        assert content_of(view, request).startswith("old")
    force_authenticate(request, alice)
    assert NewApi.as_view()(request).status_code == 404


@pytest.mark.usefixtures("on_for_all")
@pytest.mark.urls(__name__)
def test_browser_gets_a_forced_off_flag_as_off_unless_a_test_overrides_it(client: Client) -> None:
    assert client.get("/flags/").json() == {"flags": {KEY: False, "banner": True}}
    with override_flag(KEY, True):
        assert flag_enabled(KEY) is True
    assert flag_enabled(KEY) is False
