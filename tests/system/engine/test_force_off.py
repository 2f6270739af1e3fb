"""FLAGSTAFF_FORCE_OFF in processes: workers, children, and processes without a database."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from flagstaff import changes
from flagstaff.models import FeatureFlag
from tests.conftest import RunIsolated
from tests.support.fixtures import OpenToAll, Query
from tests.support.forced_off import forced_off
from tests.support.workers import Worker

KEY = "new_checkout"
FORCED_OFF: list[Any] = ["flag_enabled", KEY, None, True]
NOTICE = "forced off in this process by FLAGSTAFF_FORCE_OFF"
# The maximum of STARTUP_TIMEOUT: a wait for the first load is that long.
NEVER = 60
SET_UP = f"""
import os
import django
from django.conf import settings
django.setup()
settings.FLAGSTAFF = {{"STARTUP_TIMEOUT": {NEVER}}}
"""


@pytest.mark.django_db
def test_forced_off_flag_can_be_changed() -> None:
    FeatureFlag.objects.create(key=KEY)
    with forced_off([KEY]):
        assert changes.flags.enable(KEY).written
    assert FeatureFlag.objects.get().enabled


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
def test_forced_off_flag_is_logged_and_does_not_wait_for_the_first_load(unreachable: str) -> None:
    with Worker(unreachable, STARTUP_TIMEOUT=NEVER) as worker:
        assert worker.ask("logged") == [["WARNING", f"{NOTICE}: {KEY}, search_v2"]]
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
def test_forced_off_experiment_does_not_wait_for_the_first_load(unreachable: str) -> None:
    variant = ["call", "flagstaff.experiments.get_variant", KEY, 42]
    with Worker(unreachable, STARTUP_TIMEOUT=NEVER) as worker:
        assert worker.ask("until", variant, None, 0) < NEVER / 2
        # Nothing has connected.
        assert worker.ask("mode") == "idle"


@pytest.mark.usefixtures("force_off")
def test_views_of_a_forced_off_flag_do_not_wait_for_the_first_load(
    unreachable: str, run_isolated: RunIsolated
) -> None:
    script = f"""{SET_UP}
import asyncio
import time
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
jinja2 = Environment(extensions=["flagstaff.contrib.jinja2.FlagstaffExtension"])
template = '{{% flag "{KEY}" %}}new{{% else %}}old{{% endflag %}}'
start = time.monotonic()
print(
    request.flags.enabled("{KEY}", default=True),
    asyncio.run(request.flags.aenabled("{KEY}", default=True)),
    asyncio.run(flag_required("{KEY}", otherwise=old)(new)(request)),
    engines["django"].from_string("{{% load flagstaff %}}" + template).render({{}}, request),
    jinja2.from_string(template).render(request=request),
    time.monotonic() - start < {NEVER} / 2,
)
"""
    printed = run_isolated(script, DATABASE_URL=unreachable)
    assert printed == "False False old old old True\n"


@pytest.mark.usefixtures("force_off")
def test_snapshot_that_did_not_wait_is_taken_by_the_first_other_result(
    database: str, run_isolated: RunIsolated
) -> None:
    script = f"""{SET_UP}
from flagstaff import flag_enabled, get_value, refresh, snapshot, status
from flagstaff.models import FeatureFlag, KeyValueStore
FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
held = [snapshot() for _ in range(8)]
print([flags.flag_enabled("{KEY}", default=True) for flags in held], status().mode)
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
    script = f"""{SET_UP}
from django.core.management import call_command
call_command("flags", "explain", "{KEY}", "alice")
call_command("flags", "explain", "{KEY}", "--anonymous", "--json")
"""
    printed = run_isolated(script, DATABASE_URL=unreachable)
    text, _, document = printed.partition("{")
    assert text.splitlines() == [
        f"result\t{KEY} is off for all users.",
        "decides\tname\tmet\ttext",
        f"true\toverride\ttrue\t{NOTICE}",
    ]
    document_of_flag = json.loads("{" + document)
    assert (document_of_flag["value"], document_of_flag["override"]) == (
        False,
        "FLAGSTAFF_FORCE_OFF",
    )


@pytest.mark.usefixtures("force_off")
def test_worker_and_its_children_keep_a_flag_off_that_the_database_turns_on(
    database: str, query: Query, open_to_all: OpenToAll
) -> None:
    query(
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) "
        "VALUES ('banner', true, 0)"
    )
    with Worker(database).loaded() as worker:
        open_to_all()
        worker.sees(["flag_enabled", "banner"], True, within=3)
        assert worker.ask(*FORCED_OFF) is False
        assert worker.ask("survey", KEY, 100) == []
        # A fork by Python, and one outside Python.
        for bare in (False, True):
            assert worker.ask("in_fork", "os._exit", [FORCED_OFF, ["mode"]], bare)[0] is False


@pytest.mark.usefixtures("force_off")
def test_evaluations_of_a_forced_off_flag_count_as_false(database: str, query: Query) -> None:
    with Worker(database).loaded() as worker:
        # Unknown keys count from the first evaluation from memory on.
        worker.ask("flag_enabled", "banner")
        worker.ask("survey", KEY, 1000)
        worker.ask("survey", "search_v2", 10)
    counted = "SELECT result, sum(count)::int FROM flagstaff_usage WHERE key = %s GROUP BY result"
    # The flag exists in the database, search_v2 does not.
    assert query(counted, KEY) == ("false", 1000)
    assert query(counted, "search_v2") == ("unknown", 10)
