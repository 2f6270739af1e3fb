"""Rules may name a group that does not exist. The terminal and the admin warn of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client

from flagstaff._tables.group_lookup import missing_groups
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import FLAGS, SEGMENTS, form_data, messages_of
from tests.support.terminals import run

pytestmark = pytest.mark.django_db


def reads(*groups: str) -> list[dict[str, Any]]:
    return [{"attribute": "groups", "operator": "in", "values": [*groups]}]


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


@pytest.mark.parametrize("name", ["Beta", "beta ", "be\0ta", "\ud800", "x" * 200])
def test_only_the_exact_name_exists(name: str, beta: Group) -> None:
    assert list(missing_groups([name], "default")) == [name]


class GroupsElsewhere:
    """Writes users and groups to another database."""

    def db_for_write(self, model: type[Model], **hints: object) -> str | None:
        return "users" if model._meta.app_label == "auth" else None


def test_no_group_is_missing_where_groups_cannot_be_read(beta: Group, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [GroupsElsewhere()]
    assert missing_groups(["bta"], "default") == {}


WARNING = "groups that do not exist: 'bta' (did you mean 'beta'?), 'unlike'; create them, or"

MESSAGE = (
    "No user is in this group, because it does not exist: “bta”. Create it, or correct its name."
)


@pytest.fixture
def conditions(tmp_path: Path) -> Path:
    path = tmp_path / "conditions.json"
    path.write_text(json.dumps(reads("beta", "bta", "unlike")))
    return path


@pytest.mark.parametrize(
    "command", ["segment create testers {}", "segment update insiders --conditions {}"]
)
def test_terminal_warns_of_missing_groups_of_a_segment(
    command: str, segment: Segment, conditions: Path
) -> None:
    assert WARNING in run(command.format(conditions)).err


def test_terminal_warns_of_missing_groups_of_rules(flag: FeatureFlag, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"conditions": reads("bta", "unlike")}]))
    assert WARNING in run(f"set-rules new_checkout {rules}").err
    flag.refresh_from_db()
    assert flag.rules[0]["conditions"] == reads("bta", "unlike")


def test_terminal_does_not_warn_of_groups_that_exist(flag: FeatureFlag, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"conditions": reads("beta")}]))
    assert "groups" not in run(f"set-rules new_checkout {rules}").err.replace('"groups"', "")


def test_admin_warns_of_missing_groups_of_rules(flag: FeatureFlag, admin_client: Client) -> None:
    url = f"{FLAGS}{flag.pk}/change/"
    rules = [{"conditions": reads("bta", "beta")}]
    data = form_data(admin_client.get(url)) | {"rules": json.dumps(rules)}
    messages = messages_of(admin_client.post(url, data, follow=True))
    assert MESSAGE in messages
    flag.refresh_from_db()
    assert flag.rules == rules


def test_admin_warns_of_missing_groups_of_a_segment(segment: Segment, admin_client: Client) -> None:
    url = f"{SEGMENTS}{segment.pk}/change/"
    data = form_data(admin_client.get(url)) | {"conditions": json.dumps(reads("bta"))}
    messages = messages_of(admin_client.post(url, data, follow=True))
    assert MESSAGE in messages


def test_admin_does_not_warn_if_the_rules_are_unchanged(
    flag: FeatureFlag, admin_client: Client
) -> None:
    FeatureFlag.objects.update(rules=[{"conditions": reads("bta")}])
    url = f"{FLAGS}{flag.pk}/change/"
    data = form_data(admin_client.get(url)) | {"description": "Another text"}
    messages = messages_of(admin_client.post(url, data, follow=True))
    assert not any("groups" in message for message in messages)
