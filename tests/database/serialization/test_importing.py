"""Imports: what a plan says, what is written, and how secrets are treated."""

import json
from datetime import date
from typing import Any

import pytest
from django.db.models import Model
from django.db.models.signals import post_save

from flagstaff import acting_as, changes, serialization
from flagstaff._tables.rows import Kind
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.log import flag_version, value_version
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.documents import (
    EDITED,
    MASK,
    database_state,
    dry_run,
    export_text,
    import_problems,
    import_text,
    summaries,
)
from tests.support.history import flag_history, value_history
from tests.support.shop import Shop
from tests.support.sql import rows

pytestmark = pytest.mark.usefixtures("open_shop")


def test_import_leaves_what_the_file_does_not_contain() -> None:
    changes.flags.set_rollout("dark_mode", 70)
    changes.flags.update(
        "new_checkout", {"owner": "web", "tags": ["q3"], "review_on": date(2027, 3, 1)}
    )
    before = database_state()
    imported = import_text("flagstaff: 1\nflags: {new_checkout: {bucket_by: organization}}")
    before[0]["new_checkout"]["bucket_by"] = "organization"
    assert database_state() == before
    assert [key for _, key in imported.changed] == ["new_checkout"]


def test_dry_run_describes_changes_like_the_history_and_writes_nothing(shop: Shop) -> None:
    shop.user("carol")
    assert summaries(dry_run(EDITED)) == {
        "beta_reviews": "added 1 allowed user (carol), removed 1 allowed user (alice)",
        "brand_new": "created, on, rollout 5 %, added 1 allowed user (alice)",
        "new_checkout": 'rollout 25 → 50 %, description "One page instead of three" → "One page"',
        "motto": 'created, value "on"',
        "page_size": "value 20 → 50",
    }


@pytest.mark.django_db(transaction=True)
def test_import_is_one_transaction_by_one_actor(shop: Shop) -> None:
    shop.user("carol")
    with acting_as("deploy", reason="release 42", source="command"):
        imported = import_text(EDITED)
    events = [
        event
        for event in (*flag_history()[:9], *value_history()[:9])
        if event.reason == "release 42"
    ]
    assert {event.key for event in events} == set(summaries(imported))
    assert len({event.transaction_id for event in events}) == 1
    assert {(event.actor, event.source) for event in events} == {("deploy", "command")}
    assert import_text(EDITED).changed == {}


def test_import_of_new_rows_has_their_versions_and_fields() -> None:
    text = """
        flagstaff: 1
        flags: {one: {allowed_users: [alice]}, two: {enabled: true}}
        values: {three: {value: 3}, four: {value: hidden, secret: true}}
    """
    imported = import_text(text)
    assert [
        (change.key, change.version, change.secret) for change in imported.changed.values()
    ] == [
        ("one", flag_version("one"), False),
        ("two", flag_version("two"), False),
        ("four", value_version("four"), True),
        ("three", value_version("three"), False),
    ]
    more = changes.flags.create("one_more", allowed_users=[1]).new or {}
    assert imported.changed[Kind.FLAG, "one"].new == {**more, "key": "one"}


def test_import_calls_the_receivers_of_the_project_and_a_dry_run_does_not() -> None:
    saved: list[str] = []

    def receive(instance: FeatureFlag, **_: object) -> None:
        saved.append(instance.key)

    text = "flagstaff: 1\nflags: {dark_mode: {kind: ops}, one: {enabled: true}, two: {}}"
    post_save.connect(receive, FeatureFlag)
    try:
        dry_run(text)
        assert saved == []
        import_text(text)
    finally:
        post_save.disconnect(receive, FeatureFlag)
    assert sorted(saved) == ["dark_mode", "one", "two"]


def test_rows_that_are_written_together_get_what_a_save_writes() -> None:
    text = """
        flagstaff: 1
        flags:
          dark_mode:
            {description: "5 % 'of' %s {}", review_on: "2027-03-01", tags: [x], rules: [%s]}
          search_v2: {description: "", review_on: "2027-04-01", tags: ["a'b", c], rules: []}
        values:
          page_size: {value: {a: [null, 1.50, "%s"]}}
          motto: {value: "off"}
    """
    rule = '{"conditions": [{"attribute": "plan", "operator": "in", "values": ["é"]}]}'
    changes.flags.update(
        "search_v2", {"description": "x", "tags": ["b"], "rules": [json.loads(rule)]}
    )
    changes.values.create("motto", "on")
    before = FeatureFlag.objects.get(key="dark_mode").changed_at
    imported = import_text(text.replace("[%s]", f"[{rule}]"))
    assert len(imported.changed) == 4
    dark_mode, search = FeatureFlag.objects.filter(key__in=["dark_mode", "search_v2"]).order_by(
        "key"
    )
    assert (dark_mode.description, dark_mode.review_on) == ("5 % 'of' %s {}", date(2027, 3, 1))
    assert (dark_mode.rules, dark_mode.changed_at > before) == ([json.loads(rule)], True)
    assert (search.description, search.tags, search.rules) == ("", ["a'b", "c"], [])
    values = KeyValueStore.objects.in_bulk(field_name="key")
    assert values["page_size"].value == {"a": [None, 1.5, "%s"]}
    versions = {key: change.version for (_, key), change in imported.changed.items()}
    assert versions["page_size"] == value_version("page_size")
    assert versions["dark_mode"] == flag_version("dark_mode")


def test_own_save_of_a_model_is_called_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[str] = []

    def save(flag: FeatureFlag, **options: Any) -> None:
        saved.append(flag.key)
        Model.save(flag, **options)

    monkeypatch.setattr(FeatureFlag, "save", save)
    import_text("flagstaff: 1\nflags: {dark_mode: {kind: ops}, new_checkout: {kind: ops}}")
    assert saved == ["dark_mode", "new_checkout"]
    assert {*FeatureFlag.objects.filter(key__in=saved).values_list("kind", flat=True)} == {"ops"}


def test_import_of_rows_that_the_database_rejects_names_each_and_the_reason() -> None:
    rows("ALTER TABLE flagstaff_featureflag ADD CONSTRAINT few CHECK (key NOT IN ('one', 'two'))")
    text = "flagstaff: 1\nflags: {dark_mode: {rollout_percent: 5}, one: {}, three: {}, two: {}}"
    assert len(dry_run(text).changed) == 4
    problems = import_problems(text)
    assert len(problems) == 2
    for key, problem in zip(("one", "two"), problems, strict=True):
        assert f"flags.{key}: the database rejected the change" in problem
        assert 'violates check constraint "few"' in problem


def test_missing_flags_are_deleted_only_with_delete_missing() -> None:
    before = database_state()
    with pytest.raises(InvalidChangeError, match="some keys only"):
        import_text(export_text(keys=["dark_mode"]), delete_missing=True)
    assert database_state() == before
    text = "flagstaff: 1\nflags: {dark_mode: {enabled: true}}"
    assert import_text(text).changed == {}
    imported = import_text(text, delete_missing=True)
    deleted = ["beta_reviews", "new_checkout", "search_v2", "summer_banner"]
    assert [key for (_, key), change in imported.changed.items() if change.new is None] == deleted
    assert "removed 2 allowed users (alice, bob)" in summaries(imported)["beta_reviews"]
    # The file has no section of values, so they stay.
    assert (len(database_state()[0]), len(database_state()[1])) == (1, 3)


def test_unknown_users_are_reported_or_skipped() -> None:
    text = "flagstaff: 1\nflags: {dark_mode: {allowed_users: [carol, bob, '2', 77]}}"
    [problem] = import_problems(text)
    assert problem == (
        "flags.dark_mode: allowed_users: not exactly one user is 'carol', '2', 77; pass "
        "--skip-unknown to skip them"
    )
    imported = import_text(text, skip_unknown_users=True)
    assert imported.skipped_users == ("'2'", "'carol'", "77")
    assert database_state()[0]["dark_mode"]["allowed"] == {"bob"}


def test_mask_is_never_written() -> None:
    changes.values.update("page_size", {"value": 7})
    import_text(export_text().replace('"value": 7', f'"value": "{MASK}"'))
    assert KeyValueStore.objects.get(key="mail_password").value == "hunter2"
    assert KeyValueStore.objects.get(key="page_size").value == 7
    # Without a row it is a problem.
    exported = export_text(keys=["mail_password"])
    changes.values.delete("mail_password")
    [problem] = import_problems(exported)
    assert problem.startswith("values.mail_password: value: is masked, and there is no such value")


def test_owner_tags_and_review_date_are_exported_and_cleared_by_an_import(shop: Shop) -> None:
    owned = {"owner": "payments", "tags": ["checkout", "on"], "review_on": date(2027, 3, 1)}
    shop.flag("a", **owned)
    exported = serialization.export()["flags"]["a"]
    assert {name: exported[name] for name in owned} == {**owned, "review_on": "2027-03-01"}
    imported = import_text("flagstaff: 1\nflags: {a: {owner: '', tags: [], review_on: null}}")
    assert summaries(imported) == {
        "a": 'owner "payments" → "", tags ["checkout", "on"] → [], review on "2027-03-01" → null'
    }
    assert [getattr(shop.flag("a"), name) for name in owned] == ["", [], None]


def test_new_secret_is_written_and_never_shown() -> None:
    document = serialization.export(["mail_password"])
    document["values"]["mail_password"]["value"] = "correct horse"
    document["values"]["second"] = {"value": "battery staple", "secret": True}
    imported = import_text(serialization.as_text(document))
    assert KeyValueStore.objects.get(key="mail_password").value == "correct horse"
    shown = str(summaries(imported))
    for secret in ("hunter2", "correct horse", "battery staple"):
        assert secret not in shown
    # The history does not store it.
    assert imported.undo is None


def test_import_of_a_value_with_the_primary_key_of_a_flag_is_written() -> None:
    flag = FeatureFlag.objects.get(key="new_checkout")
    assert flag.allowed_users.exists()
    KeyValueStore.objects.filter(pk=flag.pk).delete()
    KeyValueStore.objects.create(pk=flag.pk, key="limit", value=1)
    import_text("flagstaff: 1\nflags: {new_checkout: {}}\nvalues: {limit: {value: 2}}")
    assert KeyValueStore.objects.get(key="limit").value == 2
