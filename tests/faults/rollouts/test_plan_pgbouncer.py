"""A rollout plan whose workers, driver and commands reach the database through PgBouncer."""

import json
import re

from tests.support.clusters import at, ready
from tests.support.fixtures import Query
from tests.support.plan_requests import requests
from tests.support.plans import KEY, wait_for_count
from tests.support.python_processes import run_python
from tools.pgbouncer import PgBouncer

USERS = list(range(400))


def flags(url: str, *arguments: str) -> str:
    """Runs a command as a project does that has only the address of the pooler."""
    return run_python(url, "-m", "django", "flags", *arguments).stdout


def test_plan_behind_a_pooler_measures_trips_and_reaches_the_workers(
    pooler: PgBouncer, database: str, query: Query
) -> None:
    query("UPDATE flagstaff_featureflag SET rollout_percent = 0, enabled = true RETURNING id")
    url = at(database, pooler.port)
    flags(url, "run-jobs")
    flags(url, "plan", "start", KEY, "--step", "50:1h", "--step", "100:1h")
    with ready(url, MEASURE_INTERVAL=0.1) as worker:
        inside = set(worker.ask("survey", KEY, len(USERS)))
        users = [[user for user in USERS if (user in inside) is side] for side in (False, True)]
        for side, status in ((0, 200), (1, 500)):
            worker.call(requests, KEY, users[side], status)
        (run,) = query("SELECT run_id FROM flagstaff_rollouts_plan")
        wait_for_count(query, (len(users[0]), len(users[1])), run, "r")
        out = flags(url, "run-jobs", "--json")
        worker.sees(["survey", KEY, len(USERS)], [], within=3)
    plan = json.loads(flags(url, "plan", "show", KEY, "--json"))
    assert '"event": "tripped"' in out
    assert plan["state"] == "rolled_back"
    assert [event["kind"] for event in plan["events"]][-2:] == ["tripped", "propagated"]
    text = plan["events"][-1]["text"]
    assert re.match(r"Applied by [01] of 1 workers? ", text)
