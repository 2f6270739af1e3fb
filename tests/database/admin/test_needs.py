"""Rules that need other flags, on pages: rights, what is hidden, and the editor."""

import json
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import Client

from flagstaff import changes
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import FLAGS, act, flag_url, row_url, typed, undo_at, undo_url
from tests.support.conditions import needs
from tests.support.screen import Screen
from tests.support.segment_rules import rules, rules_of
from tests.support.shop import STAFF, Shop
from tests.support.stored import stored_flag

pytestmark = pytest.mark.django_db(transaction=True)

PERMISSION = "you need the permission to change or toggle “theirs”, whose rules depend on “mine”"


class OwnFlags(FeatureFlagAdmin):
    """A team sees its own flags only."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and (
            obj is None or request.user.is_superuser or obj.owner != "secret"
        )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (
            obj is None or request.user.is_superuser or obj.owner == "own"
        )


@pytest.fixture(autouse=True)
def flags(shop: Shop) -> None:
    """A flag of a team, which one of others needs, and ten users."""
    User.objects.bulk_create(User(username=f"user{number}") for number in range(10))
    changes.flags.create("mine", enabled=True, rollout_percent=50, owner="own")
    changes.flags.create("theirs", enabled=True, rules=needs("mine"), owner="others")


@pytest.fixture
def olga(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Who may change the flags of her team only."""
    registered: dict[Any, Any] = admin.site._registry
    own = OwnFlags(FeatureFlag, admin.site)
    monkeypatch.setitem(registered, FeatureFlag, own)
    permissions = "view_featureflag", "change_featureflag", "view_user"
    return shop.client("olga", *permissions, "change_segment", "view_segment")


def posted(client: Client, url: str, **arguments: Any) -> str:
    return unescape(client.post(url, typed(client, url, **arguments)).content.decode())


# What gives needs the rights for what depends on the flag; what only takes away does not.


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("rollout", {"percent": 80}),
        ("rollout", {"percent": 20}),
        ("rules", {"rules": "[]", "rollout": "70"}),
    ],
)
def test_change_needs_the_right_for_what_depends_on_the_flag(
    action: str, arguments: Any, olga: Client
) -> None:
    assert PERMISSION in posted(olga, flag_url(stored_flag("mine"), action), **arguments)
    assert stored_flag("mine").rollout_percent == 50


@pytest.mark.parametrize(
    ("action", "arguments"), [("kill", {}), ("off", {}), ("rollout", {"percent": 0})]
)
def test_brake_needs_the_right_for_its_own_flag_only(
    action: str, arguments: Any, olga: Client
) -> None:
    act(olga, flag_url(stored_flag("mine"), action), **arguments)
    assert not (stored_flag("mine").enabled and stored_flag("mine").rollout_percent)


def test_zero_percent_with_rules_needs_no_other_right_and_says_whom_it_gives(olga: Client) -> None:
    changes.flags.update("mine", rules=[{"conditions": [STAFF]}], rollout_percent=100)
    changes.flags.update("theirs", rules=needs("mine", is_on=False))
    page = Screen(olga.get(flag_url(stored_flag("mine"), "rollout") + "?percent=0"))
    assert "theirs" in page.text
    receipt = Screen(act(olga, flag_url(stored_flag("mine"), "rollout"), percent=0)).part(
        ".messagelist"
    )
    assert "theirs: 0 of 11 → 10 of 11" in receipt.text
    assert stored_flag("mine").rollout_percent == 0


def test_flag_that_is_turned_on_again_needs_the_right_for_what_depends_on_it(olga: Client) -> None:
    changes.flags.disable("mine")
    assert PERMISSION in posted(olga, flag_url(stored_flag("mine"), "on"))
    assert not stored_flag("mine").enabled


def test_allowed_users_need_the_right_for_what_depends_on_the_flag(
    olga: Client, shop: Shop
) -> None:
    shop.user("alice")
    assert PERMISSION in posted(olga, flag_url(stored_flag("mine"), "allow"), users="alice")
    assert not stored_flag("mine").allowed_users.exists()


def test_undo_needs_the_right_for_what_depends_on_the_flag(olga: Client) -> None:
    version = changes.flags.set_rollout("mine", 80).version
    assert PERMISSION in unescape(undo_at(olga, undo_url(version)).content.decode())
    assert stored_flag("mine").rollout_percent == 80


def test_segment_with_a_flag_needs_the_right_for_what_uses_it(olga: Client) -> None:
    changes.segments.create("team", [STAFF])
    changes.flags.update("theirs", rules=rules("team"))
    url = row_url(Segment.objects.get(), "conditions")
    conditions = json.dumps([{"flag": "mine", "is": True}])
    assert "whose rules depend on “team”" in posted(olga, url, conditions=conditions)


def test_selection_needs_the_right_for_what_depends_on_its_flags(olga: Client) -> None:
    changes.flags.create("other", owner="own")
    pks = [stored_flag("mine").pk, stored_flag("other").pk]
    selection = {"action": "rollout", "_selected_action": pks, "percent": 90, "_reason": ""}
    response = olga.post(FLAGS, selection)
    assert PERMISSION in unescape(response.content.decode())


# What a person may not see.


@pytest.fixture
def hidden() -> None:
    """A flag that olga may not see."""
    changes.flags.create("merger", enabled=True, owner="secret")


def test_rule_on_a_hidden_flag_is_refused_as_on_one_that_does_not_exist(
    hidden: None, olga: Client
) -> None:
    changes.flags.update("theirs", rules=[])
    for key in ("merger", "mergers"):
        page = posted(olga, flag_url(stored_flag("mine"), "rules"), rules=json.dumps(needs(key)))
        assert f"rule 1 names the flag '{key}', which does not exist; create it first" in page
    assert "merger" not in Screen(olga.get(flag_url(stored_flag("mine"), "rules"))).text


def test_circle_through_a_hidden_flag_is_refused_without_its_key(
    hidden: None, olga: Client
) -> None:
    changes.flags.update("merger", rules=needs("mine"))
    changes.flags.update("theirs", rules=needs("merger"))
    page = posted(olga, flag_url(stored_flag("mine"), "rules"), rules=json.dumps(needs("theirs")))
    assert "mine → theirs → … → mine: a flag cannot depend on itself" in page
    assert "merger" not in page


def test_experiment_tells_no_key_of_a_hidden_flag(hidden: None, olga: Client, shop: Shop) -> None:
    shop.client("olga", "view_experiment", "change_experiment")
    url = row_url(shop.experiment(state="draft"), "edit")
    for key in ("merger", "mergers"):
        page = unescape(act(olga, url, rules=json.dumps(needs(key))).content.decode())
        assert f"rule 1 names the flag '{key}', which does not exist; create it first" in page
    for key, needed in (("a", "mine"), ("b", "a"), ("merger", "b"), ("c", "merger")):
        changes.flags.create(key) if key != "merger" else None
        changes.flags.update(key, rules=needs(needed))
    page = unescape(act(olga, url, rules=json.dumps(needs("c"))).content.decode())
    assert "… → c → … → b → a → mine: at most 4 flags" in page
    assert "merger" not in page


def test_rule_on_a_hidden_flag_that_is_there_already_stays(hidden: None, olga: Client) -> None:
    changes.flags.update("theirs", rules=[])
    changes.flags.update("mine", rules=needs("merger"))
    changed = json.dumps(needs("merger", percent=10))
    act(olga, flag_url(stored_flag("mine"), "rules"), rules=changed, rollout=50)
    assert rules_of("mine")[0]["rollout_percent"] == 10


def test_page_counts_what_uses_the_flag_if_one_is_hidden(hidden: None, olga: Client) -> None:
    changes.flags.update("merger", rules=needs("mine"))
    page = Screen(olga.get(flag_url(stored_flag("mine"))))
    assert "2 flags" in page.section("Used by").text
    assert "merger" not in page.text


def test_deletion_is_refused_without_the_keys_of_hidden_flags(
    hidden: None, olga: Client, shop: Shop
) -> None:
    changes.flags.update("merger", rules=needs("mine"))
    shop.client("olga", "delete_featureflag")
    page = posted(olga, flag_url(stored_flag("mine"), "delete"))
    assert "is used by the rules of flags, values and experiments that you may not see" in page


def test_page_of_a_flag_links_to_what_uses_it(shop: Shop) -> None:
    page = Screen(shop.client("ana").get(flag_url(stored_flag("mine"))))
    used_by = page.section("Used by")
    assert used_by.link("theirs")
    assert "It cannot be deleted while rules name it." in used_by.text


def test_page_of_a_flag_offers_to_delete_it_once_no_rule_names_it(shop: Shop) -> None:
    ana, url = shop.client("ana"), flag_url(stored_flag("mine"))
    assert "Delete…" not in dict(Screen(ana.get(url)).links)
    changes.flags.update("theirs", rules=[])
    assert "Delete…" in dict(Screen(ana.get(url)).links)


def test_editor_writes_conditions_on_a_flag_and_a_bucket(shop: Shop) -> None:
    ana, url = shop.client("ana"), flag_url(stored_flag("mine"), "rules")
    rows = {
        "rules-rows": "1",
        "rules-0-name": "",
        "rules-0-rollout_percent": "",
        "rules-0-0-flag": "other",
        "rules-0-0-state": "off",
        "rules-0-1-bucket": "holdout",
        "rules-0-1-operator": "gte",
        "rules-0-1-values": "0.25",
    }
    changes.flags.create("other")
    act(ana, url, **rows, rollout=50)
    bucket = {"bucket": "holdout", "operator": "gte", "values": [0.25]}
    assert rules_of("mine")[0]["conditions"] == [{"flag": "other", "is": False}, bucket]
    assert Screen(ana.get(url)).fields("rules-") == rows


@pytest.mark.parametrize(("text", "bound"), [("5", 5), ("5.0", 5.0), ("1e-1", 0.1)])
def test_editor_keeps_the_bound_of_a_bucket_as_it_is_typed(
    text: str, bound: float, shop: Shop
) -> None:
    rows = {"rules-rows": "1", "rules-0-name": "", "rules-0-rollout_percent": ""}
    condition = {"bucket": "holdout", "operator": "lt", "values": text}
    rows |= {f"rules-0-0-{name}": typed for name, typed in condition.items()}
    act(shop.client("ana"), flag_url(stored_flag("mine"), "rules"), **rows, rollout=50)
    [stored] = rules_of("mine")[0]["conditions"][0]["values"]
    assert (stored, type(stored)) == (bound, type(bound))


def test_page_of_a_segment_names_rows_that_read_its_bucket_by_different_units(shop: Shop) -> None:
    changes.segments.create("holdout", [{"bucket": "h", "operator": "lt", "values": [5]}])
    changes.flags.update("mine", rules=rules("holdout"))
    changes.flags.update("theirs", rules=rules("holdout"), bucket_by="organization")
    page = Screen(shop.client("ana").get(row_url(Segment.objects.get())))
    assert "user (mine), organization (theirs)" in page.text
