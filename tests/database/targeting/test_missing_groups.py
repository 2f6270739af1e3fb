"""Rules may name a group that does not exist. The terminal and the admin warn of it."""

import json
from pathlib import Path

import pytest
from django.test import Client

from flagstaff._tables.user_lookup import missing_groups
from tests.support.admin_pages import SEGMENTS, act, flag_url, messages_of
from tests.support.conditions import condition
from tests.support.shop import Shop
from tests.support.terminals import run

WARNING = "groups that do not exist: 'bta' (did you mean 'beta'?), 'unlike'; create them, or"
MESSAGE = (
    "No user is in this group, because it does not exist: “bta”. Create it, or correct its name."
)


@pytest.fixture(autouse=True)
def rows(shop: Shop) -> None:
    shop.group("beta")
    shop.flag()
    shop.segment(conditions=[condition("groups", "in", "beta")])


def test_missing_groups_have_the_most_similar_name() -> None:
    assert missing_groups(["beta", "bta", "unlike", "unlike"], "default") == {
        "bta": "beta",
        "unlike": None,
    }
    for name in ("Beta", "beta ", "be\0ta", "\ud800", "x" * 200):
        assert list(missing_groups([name], "default")) == [name]


@pytest.mark.usefixtures("groups_elsewhere")
def test_no_group_is_missing_where_groups_cannot_be_read() -> None:
    assert missing_groups(["bta"], "default") == {}


@pytest.mark.parametrize(
    "command",
    ["segment create testers {}", "segment conditions enterprise {}", "rules new_checkout {}"],
)
def test_terminal_warns_of_missing_groups(command: str, tmp_path: Path) -> None:
    def warns_of(*groups: str) -> bool:
        conditions = [condition("groups", "in", *groups)]
        written = [{"conditions": conditions}] if command.startswith("rules") else conditions
        path = tmp_path / "written.json"
        path.write_text(json.dumps(written))
        ran = run(command.format(path))
        assert ran.status == 0, ran.err
        return WARNING in ran.err

    assert warns_of("beta", "bta", "unlike")
    if "create" not in command:
        assert not warns_of("beta")


def test_admin_warns_of_missing_groups_of_changed_rules(admin_client: Client, shop: Shop) -> None:
    flag, rules = shop.flag(), [{"conditions": [condition("groups", "in", "bta", "beta")]}]
    shown = messages_of(act(admin_client, flag_url(flag, "rules"), rules=json.dumps(rules)))
    assert MESSAGE in shown
    assert shop.flag().rules == rules
    shown = messages_of(act(admin_client, flag_url(flag, "details"), description="Text"))
    assert MESSAGE not in shown


def test_admin_warns_of_missing_groups_of_a_segment(admin_client: Client, shop: Shop) -> None:
    url = f"{SEGMENTS}{shop.segment().pk}/conditions/"
    conditions = json.dumps([condition("groups", "in", "bta")])
    assert MESSAGE in messages_of(act(admin_client, url, conditions=conditions))
