"""Imports of some groups of fields and some keys, such as a promotion of rules from staging."""

import json
from typing import Any

import pytest

from flagstaff import changes
from flagstaff._tables.rows import Kind
from flagstaff.exceptions import DocumentError, InvalidArgumentError, InvalidChangeError
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.documents import database_state, dry_run, import_problems, import_text
from tests.support.history_fixtures import undo_transaction
from tests.support.shop import ENTERPRISE, GERMAN, GERMANY, Shop

LARGE = {"conditions": [{"segment": "enterprise"}]}
# Of another environment, where carol has the flag.
STAGING = {
    "flagstaff": 1,
    "segments": {"enterprise": {"conditions": [ENTERPRISE]}, "german": {"conditions": [GERMAN]}},
    "flags": {
        "new_checkout": {
            "enabled": False,
            "rollout_percent": 80,
            "rules": [GERMANY],
            "description": "Of staging",
            "allowed_users": ["carol"],
        },
        "express_lane": {"enabled": True, "rollout_percent": 50, "rules": [LARGE]},
    },
    "values": {
        "page_size": {"value": 50, "description": "Of staging"},
        "motto": {"value": "on", "description": "New"},
    },
}


def staging(**sections: Any) -> str:
    return json.dumps({**STAGING, **sections})


@pytest.fixture
def production(shop: Shop) -> Shop:
    """A flag, whose user is alice, and a value."""
    shop.flag("new_checkout")
    shop.value("page_size")
    return shop


def test_import_of_the_targeting_leaves_rollout_users_and_texts(production: Shop) -> None:
    before = database_state()
    import_text(staging(), only=["targeting"], keys=["new_checkout"])
    before[0]["new_checkout"]["rules"] = [GERMANY]
    assert database_state() == before


def test_import_of_the_definition_leaves_state_and_targeting(production: Shop) -> None:
    before = database_state()
    import_text(staging(), only=["definition"], keys=["new_checkout", "page_size"])
    before[0]["new_checkout"]["description"] = "Of staging"
    assert database_state()[0] == before[0]
    assert database_state()[1]["page_size"] == ("20", "Of staging", False)


def test_import_of_the_state_leaves_targeting_and_texts(production: Shop) -> None:
    carol, description = production.user("carol"), production.flag().description
    import_text(staging(), only=["state"], keys=["new_checkout", "page_size"])
    flag = FeatureFlag.objects.get(key="new_checkout")
    assert (flag.enabled, flag.rollout_percent, [*flag.allowed_users.all()]) == (False, 80, [carol])
    assert (flag.rules, flag.description) == ([], description)
    assert KeyValueStore.objects.get(key="page_size").value == 50


def test_users_who_do_not_exist_do_not_stop_an_import_of_the_targeting(production: Shop) -> None:
    assert import_text(staging(), only=["targeting"]).skipped_users == ()
    with pytest.raises(DocumentError, match="not exactly one user is 'carol'"):
        import_text(staging(), only=["state"])


def test_flag_only_in_the_file_is_created_disabled_without_users() -> None:
    import_text(staging(), only=["targeting", "definition"], keys=["express_lane"])
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent, flag.rules) == (False, 0, [LARGE])


def test_flag_only_in_the_file_has_its_state_if_the_state_is_selected() -> None:
    import_text(staging(), only=["targeting", "state"], keys=["express_lane"])
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent) == (True, 50)


@pytest.mark.parametrize(
    ("group", "left_out"),
    [
        ("definition", ["segment enterprise", "segment german", "value motto"]),
        ("targeting", ["value motto"]),
        ("state", ["segment enterprise", "segment german"]),
    ],
)
def test_rows_that_cannot_be_created_from_a_group_are_left_out_and_listed(
    production: Shop, group: str, left_out: list[str]
) -> None:
    production.user("carol")
    imported = import_text(staging(), only=[group])
    assert sorted(f"{kind.value} {key}" for kind, key in imported.left_out) == left_out
    assert len(imported.changed) + imported.unchanged + len(left_out) == 6


def test_segment_that_selected_rules_name_is_created_with_them() -> None:
    imported = import_text(staging(), only=["targeting"], keys=["express_lane"])
    assert (imported.added, imported.kept) == (((Kind.SEGMENT, "enterprise"),), ())
    assert Segment.objects.get().conditions == [ENTERPRISE]


def test_segment_with_other_conditions_stays_and_is_listed() -> None:
    changes.segments.create("enterprise", [GERMAN])
    # Also conditions that no import would accept.
    for conditions in ([ENTERPRISE], []):
        document = staging(segments={"enterprise": {"conditions": conditions}})
        imported = import_text(document, only=["targeting"], keys=["express_lane"])
        assert (imported.added, imported.kept) == ((), ((Kind.SEGMENT, "enterprise"),))
    assert Segment.objects.get().conditions == [GERMAN]


def test_flags_that_selected_rules_need_are_created_off() -> None:
    """And what they need themselves."""
    needing = {key: {"conditions": [{"flag": key, "is": True}]} for key in ("shell", "base")}
    flags = {
        "lane": {"rules": [needing["shell"]], "enabled": True},
        "shell": {"rules": [needing["base"]], "enabled": True, "rollout_percent": 100},
        "base": {"rules": [LARGE], "enabled": True, "rollout_percent": 100},
    }
    imported = import_text(staging(flags=flags), only=["targeting"], keys=["lane"])
    assert [key for _kind, key in imported.added] == ["shell", "base", "enterprise"]
    states = {flag.key: (flag.enabled, flag.rollout_percent) for flag in FeatureFlag.objects.all()}
    assert states == dict.fromkeys(flags, (False, 0))
    assert FeatureFlag.objects.get(key="shell").rules == [needing["base"]]


def test_rules_that_name_a_segment_of_neither_side_are_refused() -> None:
    [problem] = import_problems(staging(segments={}), only=["targeting"], keys=["express_lane"])
    assert "flags.express_lane: rules: rule 1 names the segment 'enterprise'" in problem


def test_import_of_no_keys_writes_nothing(production: Shop) -> None:
    before = database_state()
    import_text(staging(), keys=[])
    assert database_state() == before


def test_key_that_is_not_in_the_file_is_refused_with_a_similar_one() -> None:
    [problem] = import_problems(staging(), keys=["new_chekout"])
    assert problem == "new_chekout: is not in the file; did you mean 'new_checkout'?"


def test_unknown_group_of_fields_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="'rules' is not a group of fields"):
        import_text(staging(), only=["rules"])


@pytest.mark.parametrize("part", [{"only": ["state"]}, {"keys": ["page_size"]}])
def test_import_of_a_part_deletes_no_missing_rows(part: dict[str, Any]) -> None:
    with pytest.raises(InvalidChangeError, match="leave out --delete-missing"):
        import_text(staging(), delete_missing=True, **part)


@pytest.mark.parametrize("group", ["definition", "state"])
@pytest.mark.parametrize("in_file", [False, "False"], ids=["boolean", "text"])
def test_part_of_a_value_that_is_secret_on_one_side_only_is_refused(
    shop: Shop, group: str, in_file: object
) -> None:
    shop.value("mail_password")
    item = {"value": "public", "secret": in_file}
    text = staging(values={"mail_password": item})
    [problem] = import_problems(text, only=[group], keys=["mail_password"])
    assert problem.endswith("secret: is not the same in the file and here; import the whole value")
    assert "hunter2" not in problem


def test_new_secret_value_is_secret_if_only_the_state_is_imported() -> None:
    item = {"value": "hunter3", "secret": True}
    import_text(staging(values={"api_token": item}), only=["state"], keys=["api_token"])
    assert KeyValueStore.objects.get().secret


def test_plan_of_a_part_is_another_one(production: Shop) -> None:
    plans = {
        dry_run(staging(), only=[group], keys=["new_checkout", "page_size"]).plan
        for group in ("definition", "targeting")
    }
    assert len(plans) == 2


@pytest.mark.django_db(transaction=True)
def test_import_of_the_rules_of_three_flags_is_one_transaction_to_undo(shop: Shop) -> None:
    keys = ["new_checkout", "search_v2", "dark_mode"]
    for key in keys:
        shop.flag(key)
    before = database_state()
    flags = {key: {"rules": [LARGE], "rollout_percent": 7, "enabled": False} for key in keys}
    imported = import_text(staging(flags=flags), only=["targeting"], keys=keys)
    assert imported.undo is not None
    assert len(imported.changed) == 4
    versions = [changed.version for changed in imported.changed.values() if changed.version]
    undo_transaction(versions[0])
    assert (database_state(), Segment.objects.count()) == (before, 0)
