"""Imports: what a plan says, what is written, and how secrets are treated."""

from __future__ import annotations

import json
import sys
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from flagstaff import acting_as, serialization
from flagstaff.changes import create, delete_value, set_rollout, update, update_value
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history import flag_history, value_history
from flagstaff.history.versions import flag_version, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.documents import (
    EDITED,
    MASK,
    database_state,
    diff_text,
    export_text,
    import_problems,
    import_text,
    summaries,
)
from tests.support.sql import rows

pytestmark = pytest.mark.django_db
# Each change is a transaction of its own, as in production.
COMMITTED = pytest.mark.django_db(transaction=True)


def test_import_leaves_what_the_file_does_not_contain(cli_shop: None) -> None:
    set_rollout("dark_mode", 70)
    update("new_checkout", {"owner": "web", "tags": ["q3"], "review_on": date(2027, 3, 1)})
    before = database_state()
    imported = import_text("flagstaff: 1\nflags: {new_checkout: {rollout_percent: 26}}")
    before[0]["new_checkout"]["rollout_percent"] = 26
    assert database_state() == before
    assert [step.key for step in imported.plan.steps] == ["new_checkout"]


def test_diff_describes_changes_like_the_history_and_writes_nothing(cli_shop: None) -> None:
    User.objects.create(pk=3, username="carol")
    entries, planned = Change.objects.count(), summaries(diff_text(EDITED))
    assert Change.objects.count() == entries
    assert planned == {
        "beta_reviews": "added 1 allowed user (carol), removed 1 allowed user (alice)",
        "brand_new": "created, on, rollout 5 %, added 1 allowed user (alice)",
        "new_checkout": 'rollout 25 → 50 %, description "One page instead of three" → "One page"',
        "motto": 'created, value "on"',
        "page_size": "value 20 → 50",
    }


@COMMITTED
def test_import_is_one_transaction_by_one_actor(cli_shop: None) -> None:
    User.objects.create(pk=3, username="carol")
    with acting_as("deploy", reason="release 42", source="command"):
        imported = import_text(EDITED)
    events = [
        event
        for event in (*flag_history(limit=9), *value_history(limit=9))
        if event.reason == "release 42"
    ]
    assert {event.key for event in events} == set(summaries(imported.plan))
    assert len({event.transaction_id for event in events}) == 1
    assert {(event.actor, event.source) for event in events} == {("deploy", "command")}
    assert import_text(EDITED).plan.steps == ()


def import_new_flags(count: int) -> None:
    rules = [{"conditions": [{"segment": "enterprise"}]}]
    flags = {f"flag_{number}_of_{count}": {"rules": rules} for number in range(count)}
    imported = import_text(json.dumps({"flagstaff": 1, "flags": flags}))
    assert len(imported.changed) == count


def calls_of_import(new_flags: int) -> int:
    """Returns how many functions an import calls."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        import_new_flags(new_flags)
    finally:
        sys.setprofile(None)
    return calls


def test_import_of_many_new_flags_makes_as_many_queries_as_of_two(cli_shop: None) -> None:
    queries = []
    for number in (2, 100):
        with CaptureQueriesContext(connection) as captured:
            import_new_flags(number)
        queries.append(len(captured))
    assert queries[0] == queries[1]


def test_import_of_twice_as_many_new_flags_takes_twice_the_work(cli_shop: None) -> None:
    import_new_flags(2)  # Fills the caches.
    one, two, four = (calls_of_import(number) for number in (25, 50, 100))
    assert (two - one) * 1.9 < four - two < (two - one) * 2.1


def test_import_of_new_rows_has_the_versions_and_undo_of_creations(cli_shop: None) -> None:
    text = """
        flagstaff: 1
        flags: {one: {allowed_users: [alice]}, two: {enabled: true}}
        values: {three: {value: 3}, four: {value: hidden, secret: true}}
    """
    imported = import_text(text)
    assert [(one.key, one.version, one.secret) for one in imported.changed] == [
        ("one", flag_version("one"), False),
        ("two", flag_version("two"), False),
        ("four", value_version("four"), True),
        ("three", value_version("three"), False),
    ]
    verbs = ("delete one", "delete two", "value delete four", "value delete three")
    commands = [one.undo and one.undo.command for one in imported.changed]
    assert commands == [f"python manage.py flags {verb} --yes" for verb in verbs]
    assert imported.changed[0].new == create("one_more", allowed_users=[1]).new | {"key": "one"}


def test_import_of_new_rows_calls_the_receivers_of_the_project(cli_shop: None) -> None:
    saved: list[str] = []

    def receive(instance: FeatureFlag, **_: object) -> None:
        saved.append(instance.key)

    post_save.connect(receive, FeatureFlag)
    try:
        import_text("flagstaff: 1\nflags: {one: {enabled: true}, two: {}}")
    finally:
        post_save.disconnect(receive, FeatureFlag)
    assert saved == ["one", "two"]


def test_import_of_new_rows_that_the_database_rejects_names_the_reason(cli_shop: None) -> None:
    before = database_state()
    rows("ALTER TABLE flagstaff_featureflag ADD CONSTRAINT no_two CHECK (key <> 'two')")
    with pytest.raises(InvalidChangeError, match='violates check constraint "no_two"'):
        import_text("flagstaff: 1\nflags: {one: {enabled: true}, two: {}}")
    assert database_state() == before


def test_import_that_fails_at_the_last_step_writes_nothing(
    cli_shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise InvalidChangeError("the database rejected the change")

    before = database_state()
    monkeypatch.setattr("flagstaff.changes.update_value", fail)
    text = "flagstaff: 1\nflags: {dark_mode: {enabled: false}}\nvalues: {page_size: {value: 1}}"
    with pytest.raises(InvalidChangeError):
        import_text(text)
    assert database_state() == before


def test_missing_flags_are_deleted_only_with_delete_missing(cli_shop: None) -> None:
    before = database_state()
    with pytest.raises(InvalidChangeError, match="some keys only"):
        import_text(export_text(keys=["dark_mode"]), delete_missing=True)
    assert database_state() == before
    text = "flagstaff: 1\nflags: {dark_mode: {enabled: true}}"
    assert import_text(text).plan.steps == ()
    imported = import_text(text, delete_missing=True)
    assert [(step.action, step.key) for step in imported.plan.steps] == [
        ("delete", "beta_reviews"),
        ("delete", "new_checkout"),
        ("delete", "search_v2"),
        ("delete", "summer_banner"),
    ]
    assert "removed 2 allowed users (alice, bob)" in summaries(imported.plan)["beta_reviews"]
    # The file has no section of values, so they stay.
    assert (len(database_state()[0]), len(database_state()[1])) == (1, 3)


def test_unknown_users_are_reported_or_skipped(cli_shop: None) -> None:
    text = "flagstaff: 1\nflags: {dark_mode: {allowed_users: [carol, bob, '2', 77]}}"
    [problem] = import_problems(text)
    assert problem == (
        "flags.dark_mode.allowed_users: no user has the username 'carol', '2' or the "
        "primary key 77; pass --skip-unknown to skip them"
    )
    imported = import_text(text, skip_unknown_users=True)
    assert imported.plan.skipped_users == ("'2'", "'carol'", "77")
    assert database_state()[0]["dark_mode"]["allowed"] == {"bob"}


def test_mask_is_never_written(cli_shop: None) -> None:
    update_value("page_size", {"value": 7})
    import_text(export_text().replace('"value": 7', f'"value": "{MASK}"'))
    assert KeyValueStore.objects.get(key="mail_password").value == "hunter2"
    assert KeyValueStore.objects.get(key="page_size").value == 7
    # Without a row it is a problem.
    exported = export_text(keys=["mail_password"])
    delete_value("mail_password")
    [problem] = import_problems(exported)
    assert problem.startswith("values.mail_password.value: is masked, and there is no such value")


def test_import_that_clears_owner_tags_and_review_date_is_summarized() -> None:
    owned = {"owner": "payments", "tags": ["checkout", "on"], "review_on": date(2027, 3, 1)}
    FeatureFlag.objects.create(key="a", **owned)
    imported = import_text("flagstaff: 1\nflags: {a: {owner: '', tags: [], review_on: null}}")
    assert summaries(imported.plan) == {
        "a": 'owner "payments" → "", tags ["checkout", "on"] → [], review on "2027-03-01" → null'
    }
    assert [*FeatureFlag.objects.values_list(*owned)] == [("", [], None)]


def test_new_secret_is_written_and_never_shown(cli_shop: None) -> None:
    document = serialization.export(["mail_password"])
    document["values"]["mail_password"]["value"] = "correct horse"
    document["values"]["second"] = {"value": "battery staple", "secret": True}
    imported = import_text(serialization.as_text(document))
    assert KeyValueStore.objects.get(key="mail_password").value == "correct horse"
    shown = repr(imported.plan) + json.dumps([step.as_dict() for step in imported.plan.steps])
    for secret in ("hunter2", "correct horse", "battery staple"):
        assert secret not in shown
    # The history has only a digest, which cannot be restored.
    assert imported.undo is None
