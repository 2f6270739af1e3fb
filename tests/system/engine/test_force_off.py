"""Flags that FLAGSTAFF_FORCE_OFF turns off, with rows that say something else."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import Client, RequestFactory
from django.urls import include, path
from django.views import View
from jinja2 import Environment
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from flagstaff import all_flags, explain, flag_enabled, impact, read_own_writes, snapshot
from flagstaff.changes import enable
from flagstaff.decorators import flag_required
from flagstaff.drf import HasFlag
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.mixins import FlagRequiredMixin
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine, override_flag
from tests.conftest import RunIsolated
from tests.support.forced_off import forced_off
from tests.support.fixtures import Query
from tests.support.workers import Worker

urlpatterns = [path("flags/", include("flagstaff.urls"))]

KEY = "new_checkout"
FORCED_OFF: list[Any] = ["flag_enabled", KEY, None, True]
NOTICE = "forced off in this process by FLAGSTAFF_FORCE_OFF"
# Longer than the time limit of a test, so a test that waits for the first load fails.
NEVER = 60


@pytest.fixture(params=["direct", "memory"])
def on_for_all(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[None]:
    """Two flags that are on for all users, one of which the environment turns off."""
    for key in (KEY, "banner"):
        FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100, client_side=True)
    if request.param == "direct":
        with forced_off([KEY]):
            yield
    else:
        with live_engine(), forced_off([KEY]):
            yield


def request_of(user: User) -> HttpRequest:
    """A request that has passed the middleware."""
    request = RequestFactory().get("/")
    request.user = user
    FlagstaffMiddleware(lambda _request: HttpResponse())(request)
    return request


# Without a process of their own.


@pytest.mark.usefixtures("on_for_all")
def test_forced_off_flag_is_off_in_every_function() -> None:
    assert (flag_enabled(KEY, 42, default=True), flag_enabled("banner", 42)) == (False, True)
    assert all_flags(42) == {KEY: False, "banner": True}
    assert snapshot().flag_enabled(KEY, 42) is False
    assert snapshot().all_flags(42) == {KEY: False, "banner": True}
    with read_own_writes():
        assert flag_enabled(KEY, 42) is False
    explanation = explain(KEY, 42)
    assert (explanation.reason, explanation.override) == ("DISABLED", "FLAGSTAFF_FORCE_OFF")
    assert explain("banner", 42).override is None


@pytest.mark.usefixtures("on_for_all")
def test_forced_off_flag_is_off_in_requests_and_views(alice: User) -> None:
    request: Any = request_of(alice)
    assert (request.flags.enabled(KEY), request.flags.enabled("banner")) == (False, True)
    assert request.flags.all() == {KEY: False, "banner": True}
    template = '{% load flagstaff %}{% flag "new_checkout" %}new{% else %}old{% endflag %}'
    assert engines["django"].from_string(template).render({}, request) == "old"
    jinja2 = Environment(extensions=["flagstaff.jinja2.FlagstaffExtension"], autoescape=True)
    template = '{% flag "new_checkout" %}new{% else %}old{% endflag %}'
    assert jinja2.from_string(template).render(request=request) == "old"
    assert flag_required(KEY, otherwise=old)(new)(request) == "old"


@pytest.mark.usefixtures("on_for_all")
def test_forced_off_flag_is_off_in_class_based_views_and_apis(alice: User) -> None:
    assert NewCheckout.as_view()(request_of(alice)) == "old"
    request = APIRequestFactory().get("/")
    force_authenticate(request, alice)
    assert NewApi.as_view()(request).status_code == 404


@pytest.mark.usefixtures("on_for_all")
@pytest.mark.urls(__name__)
def test_browser_gets_a_forced_off_flag_as_off(client: Client) -> None:
    assert client.get("/flags/").json() == {"flags": {KEY: False, "banner": True}}


@pytest.mark.usefixtures("on_for_all")
def test_override_of_a_test_wins_over_the_environment() -> None:
    with override_flag(KEY, True):
        assert flag_enabled(KEY) is True
    assert flag_enabled(KEY) is False


@pytest.mark.django_db
def test_unknown_key_that_is_forced_off_raises_nothing(settings: Any) -> None:
    settings.FLAGSTAFF = {"UNKNOWN_KEY": "raise"}
    with forced_off([KEY]):
        assert flag_enabled(KEY, default=True) is False


@pytest.mark.django_db
def test_impact_of_a_forced_off_flag_is_that_of_its_row() -> None:
    FeatureFlag.objects.create(key=KEY, enabled=True, rollout_percent=100)
    User.objects.create(pk=42, username="alice")
    with forced_off([KEY]):
        assert impact(KEY, 0).lose == 1


@pytest.mark.django_db
def test_forced_off_flag_can_be_changed() -> None:
    FeatureFlag.objects.create(key=KEY)
    with forced_off([KEY]):
        assert enable(KEY).written
    assert FeatureFlag.objects.get().enabled


@pytest.fixture
def alice() -> User:
    return User(pk=42, username="alice")


def new(_request: HttpRequest) -> Any:
    return "new"


def old(_request: HttpRequest) -> Any:
    return "old"


class NewCheckout(FlagRequiredMixin, View):
    flag_key = KEY
    flag_otherwise = old

    def get(self, _request: HttpRequest) -> Any:
        return "new"


class NewApi(APIView):  # type: ignore[misc]
    permission_classes = [HasFlag(KEY)]


# In a process of its own, which reads the environment.


@pytest.fixture
def force_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", f" {KEY}, search_v2 ")


@pytest.fixture
def unreachable() -> Iterator[str]:
    """The address of a server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield f"postgres://flagstaff@127.0.0.1:{port}/flagstaff"


@pytest.mark.usefixtures("force_off")
def test_forced_off_flag_does_not_wait_for_the_first_load(unreachable: str) -> None:
    with Worker(unreachable, STARTUP_TIMEOUT=NEVER) as worker:
        assert worker.ask("until", FORCED_OFF, False, 0) < NEVER / 2
        assert worker.ask("explain", KEY, 42)["override"] == "FLAGSTAFF_FORCE_OFF"
        # Nothing has connected.
        assert worker.ask("mode") == "idle"
        assert worker.ask("status")["forced_off"] == [KEY, "search_v2"]


@pytest.mark.usefixtures("force_off")
def test_other_flags_return_their_default_without_a_database(unreachable: str) -> None:
    with Worker(unreachable, STARTUP_TIMEOUT=0) as worker:
        assert worker.ask("flag_enabled", "banner", None, True) is True
        assert worker.ask(*FORCED_OFF) is False


@pytest.mark.usefixtures("force_off")
def test_settings_that_are_not_usable_do_not_keep_a_forced_off_flag_on(unreachable: str) -> None:
    with Worker(unreachable, POLL_INTERVAL="often") as worker:
        assert worker.ask(*FORCED_OFF) is False


@pytest.mark.usefixtures("force_off")
def test_views_of_a_forced_off_flag_do_not_wait_for_the_first_load(
    unreachable: str, run_isolated: RunIsolated
) -> None:
    script = f"""
import asyncio, os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
import django
from django.conf import settings
django.setup()
settings.FLAGSTAFF = {{"STARTUP_TIMEOUT": {NEVER}}}
from django.template import engines
from django.test import RequestFactory
from django.views import View
from jinja2 import Environment
from flagstaff.decorators import flag_required
from flagstaff.middleware import RequestFlags
request = RequestFactory().get("/")
request.flags = RequestFlags(request)
async def new(request):
    return "new"
async def old(request):
    return "old"
jinja2 = Environment(extensions=["flagstaff.jinja2.FlagstaffExtension"])
template = '{{% flag "{KEY}" %}}new{{% else %}}old{{% endflag %}}'
print(
    request.flags.enabled("{KEY}", default=True),
    asyncio.run(request.flags.aenabled("{KEY}", default=True)),
    asyncio.run(flag_required("{KEY}", otherwise=old)(new)(request)),
    engines["django"].from_string("{{% load flagstaff %}}" + template).render({{}}, request),
    jinja2.from_string(template).render(request=request),
)
"""
    printed = run_isolated(script, DATABASE_URL=unreachable)
    assert printed == "False False old old old\n"


@pytest.mark.usefixtures("force_off")
def test_snapshot_that_did_not_wait_is_taken_by_the_first_other_result(
    database: str, run_isolated: RunIsolated
) -> None:
    script = f"""
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
import django
from django.conf import settings
django.setup()
settings.FLAGSTAFF = {{"STARTUP_TIMEOUT": {NEVER}}}
from flagstaff import flag_enabled, get_value, refresh, snapshot, status
from flagstaff.models import FeatureFlag, KeyValueStore
FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
held = [snapshot() for _ in range(8)]
print([one.flag_enabled("{KEY}", default=True) for one in held], status().mode)
print(held[0].flag_enabled("banner"), held[1].get_value("gateway"), held[2].all_flags())
print(held[3].explain("banner")["reason"], held[4].depends_on_user("banner"), held[5].ready)
print(held[6].token is not None, held[0].flag_enabled("{KEY}", default=True))
FeatureFlag.objects.update(enabled=False)
refresh()
# Taken before the change, and after it.
print(held[0].flag_enabled("banner"), held[7].flag_enabled("banner"))
"""
    assert run_isolated(script, DATABASE_URL=database).splitlines() == [
        f"{[False] * 8} idle",
        "True stripe {'banner': True, 'new_checkout': False, 'search_v2': False}",
        "STATIC False True",
        "True False",
        "True False",
    ]


@pytest.mark.usefixtures("force_off")
def test_explain_shows_a_forced_off_flag_without_a_database(
    unreachable: str, run_isolated: RunIsolated
) -> None:
    script = f"""
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
import django
django.setup()
from django.core.management import call_command
call_command("flags", "explain", "{KEY}", "alice")
call_command("flags", "explain", "{KEY}", "--anonymous", "--json")
"""
    printed = run_isolated(script, DATABASE_URL=unreachable)
    text, _, document = printed.partition("{")
    assert text.splitlines() == [
        f"result\t{KEY} is off for all users.",
        f"true\toverride\ttrue\t{NOTICE}",
    ]
    found = json.loads("{" + document)
    assert (found["value"], found["override"]) == (False, "FLAGSTAFF_FORCE_OFF")


@pytest.mark.usefixtures("force_off")
def test_start_of_a_process_logs_the_forced_off_keys(unreachable: str) -> None:
    with Worker(unreachable) as worker:
        assert worker.ask("logged") == [["WARNING", f"{NOTICE}: {KEY}, search_v2"]]


@pytest.mark.usefixtures("force_off")
def test_worker_keeps_a_flag_off_that_the_database_turns_on(
    database: str, query: Query, open_to_all: Callable[[], None]
) -> None:
    query(
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) "
        "VALUES ('banner', true, 0)"
    )
    with Worker(database) as worker:
        assert worker.ask("ready", 10) is True
        open_to_all()
        worker.sees(["flag_enabled", "banner"], True, within=3)
        assert worker.ask(*FORCED_OFF) is False
        assert worker.ask("survey", KEY, 100) == []


@pytest.mark.usefixtures("force_off")
@pytest.mark.parametrize("bare", [False, True])
def test_forked_child_inherits_the_forced_off_flags(database: str, bare: bool) -> None:
    with Worker(database) as worker:
        assert worker.ask("ready", 10) is True
        assert worker.ask("in_fork", "os._exit", [FORCED_OFF, ["mode"]], bare)[0] is False


@pytest.mark.usefixtures("force_off")
def test_evaluations_of_a_forced_off_flag_count_as_false(database: str, query: Query) -> None:
    with Worker(database) as worker:
        assert worker.ask("ready", 10) is True
        # Unknown keys count from the first evaluation from memory on.
        worker.ask("flag_enabled", "banner")
        worker.ask("survey", KEY, 1000)
        worker.ask("survey", "search_v2", 10)
    counted = "SELECT sum(false_count)::int, sum(true_count)::int, bool_or(defined) "
    counted += "FROM flagstaff_usage WHERE key = %s"
    # The flag exists in the database, search_v2 does not.
    assert query(counted, KEY) == (1000, 0, True)
    assert query(counted, "search_v2") == (10, 0, False)
