"""Events in words, for people and for other programs."""

import csv
import json
import re
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import acting_as, changes
from flagstaff.history import as_csv, as_dicts, flag_version
from flagstaff.history.describe import (
    MAX_SHORT_VALUE,
    describe_actor,
    describe_change,
    describe_difference,
    names_of_actors,
    names_of_users,
)
from flagstaff.history.log import Difference
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.admin_pages import VALUES, page
from tests.support.conditions import condition
from tests.support.history import flag_history
from tests.support.screen import Screen
from tests.support.shop import GERMAN
from tests.support.terminals import run

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


def test_describe_change_names_fields_and_users(flag: FeatureFlag) -> None:
    with acting_as(flag.allowed_users.get()):
        changes.flags.update("new_checkout", {"rollout_percent": 50, "allowed_users": [2]})
    event, users, created = flag_history("new_checkout")
    text = "rollout 25 → 50 %, added 1 allowed user, removed 1 allowed user"
    assert describe_change(event) == text
    names = names_of_users([event])
    assert names == {"1": "alice", "2": "bob"}
    assert describe_change(event, names) == (
        "rollout 25 → 50 %, added 1 allowed user (bob), removed 1 allowed user (alice)"
    )
    assert describe_actor(event, names_of_actors([event])) == "alice"
    text = 'created, rollout 25 %, description "One page instead of three"'
    assert describe_change(created) == text
    assert describe_actor(created) == f"{created.session_user} (database user)"
    assert describe_change(users) == "added 1 allowed user"


def test_describe_change_of_many_users_names_ten(flag: FeatureFlag) -> None:
    many = User.objects.bulk_create([User(username=f"guest{n:04}") for n in range(1200)])
    changes.flags.allow("new_checkout", many)
    event = flag_history("new_checkout")[0]
    text = describe_change(event, names_of_users([event]))
    names = r"(guest\d{4}, ){9}guest\d{4}"
    assert re.fullmatch(rf"added 1,200 allowed users \({names} and 1,190 more\)", text)


@pytest.mark.parametrize("count", [2, 5])
def test_long_rule_that_is_changed_is_shortened_but_not_where_it_differs(count: int) -> None:
    same = [condition(f"attribute_{number}", "in", "enterprise") for number in range(count)]
    old, new = ([{"conditions": each}] for each in (same, [*same, GERMAN]))
    text = str(describe_difference(Difference("rules", old, new), limit=MAX_SHORT_VALUE))
    assert text.startswith("rules rule 1: 100 % if attribute_0 is")
    assert " → rule 1: 100 % if attribute_0 is" in text
    assert text.endswith('and country is "DE"')
    assert "more characters" not in text


@pytest.mark.parametrize("actor", ["deploy", "007", "9" * 30, "-1", "1.0", "None"])
def test_actor_that_is_not_a_primary_key_is_shown_unchanged(actor: str, flag: FeatureFlag) -> None:
    with acting_as(actor):
        changes.flags.enable(flag.key)
    event = flag_history("new_checkout")[0]
    assert names_of_actors([event]) == {}
    assert describe_actor(event, {}) == actor


def test_export_to_json_and_csv_has_the_same_content(flag: FeatureFlag) -> None:
    with acting_as(flag.allowed_users.get(), reason="=1+1, \n and more"):
        changes.flags.update("new_checkout", {"rollout_percent": 50, "allowed_users": []})
    events = flag_history("new_checkout")
    [newest, *_] = json.loads(json.dumps(as_dicts(events)))
    assert newest["version"] == flag_version("new_checkout")
    assert newest["removed"] == {"count": 1, "pks": [1]}
    assert newest["differences"] == [
        {"field": "rollout_percent", "old": 25, "new": 50, "secret": False}
    ]
    [row, *_] = csv.DictReader(StringIO(as_csv(events), newline=""))
    assert (row["actor"], row["reason"]) == ("1", "'=1+1, \n and more")
    assert json.loads(row["removed"]) == newest["removed"]


# Each change is a transaction of its own, as in production.
KEY = "payment_gateway"
ROWS = [{"id": number, "name": f"rate {number * 7919 % 1000}"} for number in range(10_000)]
# The values, one after another, and how the newest change is shown.
SHOWN: dict[str, tuple[list[object], str]] = {
    "members": (
        [
            {"retries": {"max": 3}, "hosts": ["a"], "timeout": 5},
            {"retries": {"max": 5}, "hosts": ["a", "x"], "fee": 1.5},
        ],
        'hosts: ["a"] → ["a", "x"]; retries.max: 3 → 5; timeout: removed 5; fee: added 1.5',
    ),
    "many members": (
        [{f"a{part}": number for part in range(20)} for number in (0, 1)],
        "a0: 0 → 1; a1: 0 → 1; a2: 0 → 1; a3: 0 → 1; a4: 0 → 1; and 15 more",
    ),
    "no object on one side": (["stripe", ["stripe"]], '"stripe" → ["stripe"]'),
    "a long value": (
        [ROWS, {"rows": ROWS[:200], "max": 3}, {"rows": ROWS[:200], "max": 5}],
        "max: 3 → 5",
    ),
}


@pytest.mark.parametrize(("values", "shown"), SHOWN.values(), ids=SHOWN)
def test_history_page_shows_the_parts_that_differ(
    values: list[object], shown: str, admin_client: Client
) -> None:
    changes.values.create(KEY, values[0])
    for value in values[1:]:
        changes.values.set(KEY, value)
    html = page(admin_client, f"{VALUES}{KeyValueStore.objects.get().pk}/history/")
    assert shown in Screen(html).texts("strong")
    assert len(html) < 60_000


def test_commands_show_the_parts_that_differ() -> None:
    changes.values.create(KEY, {"max": 3, "min": 1})
    ran = run(f"""value set {KEY} '{{"max": 5, "min": 1}}'""")
    assert ran.err.startswith(f"{KEY}: value max: 3 → 5\n")
    assert "value max: 3 → 5" in run(f"history {KEY} --value").out
