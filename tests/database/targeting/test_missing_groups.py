"""Rules may name a group that does not exist. The terminal and the admin warn of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from flagstaff._tables.group_lookup import missing_groups
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import FLAGS, SEGMENTS, act, messages_of
from tests.support.terminals import run

pytestmark = pytest.mark.django_db


def reads(*groups: str) -> list[dict[str, Any]]:
    return [{"attribute": "groups", "operator": "in", "values": [*groups]}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of conditions or rules."""
    return tmp_path / "written.json"


@pytest.fixture
def beta(db: None) -> Group:
    return Group.objects.create(name="beta")


@pytest.fixture
def flag(beta: Group) -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", rollout_percent=10)


@pytest.fixture
def segment(beta: Group) -> Segment:
    return Segment.objects.create(key="insiders", conditions=reads("beta"))


def test_missing_groups_have_the_most_similar_name(beta: Group) -> None:
    assert missing_groups(["beta", "bta", "unlike", "unlike"], "default") == {
        "bta": "beta",
        "unlike": None,
    }
    for name in ("Beta", "beta ", "be\0ta", "\ud800", "x" * 200):
        assert list(missing_groups([name], "default")) == [name]


@pytest.mark.usefixtures("beta", "groups_elsewhere")
def test_no_group_is_missing_where_groups_cannot_be_read() -> None:
    assert missing_groups(["bta"], "default") == {}


WARNING = "groups that do not exist: 'bta' (did you mean 'beta'?), 'unlike'; create them, or"

MESSAGE = (
    "No user is in this group, because it does not exist: “bta”. Create it, or correct its name."
)


@pytest.mark.parametrize("command", ["segment create testers {}", "segment conditions insiders {}"])
def test_terminal_warns_of_missing_groups_of_a_segment(
    command: str, segment: Segment, path: Path
) -> None:
    path.write_text(json.dumps(reads("beta", "bta", "unlike")))
    assert WARNING in run(command.format(path)).err


def test_terminal_warns_of_missing_groups_of_rules(flag: FeatureFlag, path: Path) -> None:
    path.write_text(json.dumps([{"conditions": reads("beta")}]))
    assert "groups" not in run(f"rules new_checkout {path}").err.replace('"groups"', "")
    path.write_text(json.dumps([{"conditions": reads("bta", "unlike")}]))
    assert WARNING in run(f"rules new_checkout {path}").err
    flag.refresh_from_db()
    assert flag.rules[0]["conditions"] == reads("bta", "unlike")


def test_admin_warns_of_missing_groups_of_changed_rules(
    flag: FeatureFlag, admin_client: Client
) -> None:
    url = f"{FLAGS}{flag.pk}"
    rules = [{"conditions": reads("bta", "beta")}]
    assert MESSAGE in messages_of(act(admin_client, f"{url}/rules/", rules=json.dumps(rules)))
    flag.refresh_from_db()
    assert flag.rules == rules
    assert MESSAGE not in messages_of(act(admin_client, f"{url}/details/", description="Text"))


def test_admin_warns_of_missing_groups_of_a_segment(segment: Segment, admin_client: Client) -> None:
    url = f"{SEGMENTS}{segment.pk}/conditions/"
    assert MESSAGE in messages_of(act(admin_client, url, conditions=json.dumps(reads("bta"))))
