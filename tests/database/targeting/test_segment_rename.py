"""Segments that get another key: rules follow, also those of the past."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from flagstaff import acting_as, changes, experiments, flag_enabled, refresh
from flagstaff.changes.change_plan import plan_segment_changes
from flagstaff.changes.undoing.selection import select_versions
from flagstaff.changes.undoing.writing import preview_undo
from flagstaff.exceptions import (
    ConflictError,
    DocumentError,
    InvalidChangeError,
    UnknownSegmentError,
)
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure, Phase
from flagstaff.history import flag_history, prune, segment_history, segment_version
from flagstaff.history.describe import describe_change
from flagstaff.models import Change, FeatureFlag, Segment
from flagstaff.testing import live_engine
from tests.support.documents import import_text
from tests.support.segment_rules import LARGE, PAYING, rules, rules_of
from tests.support.sql import rows

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def flag() -> FeatureFlag:
    """A flag whose rules name the segment "enterprise"."""
    # Entries of earlier tests may have the same primary keys.
    Change.objects.all().delete()
    changes.create_segment("enterprise", PAYING)
    changes.create("new_checkout", enabled=True, rollout_percent=0, rules=rules("enterprise"))
    return FeatureFlag.objects.get()


def rename(old: str = "enterprise", new: str = "large", actor: str = "ana") -> changes.Changed:
    # Events of different actors in one transaction are different ones.
    with acting_as(actor):
        return changes.rename_segment(old, new)


def version() -> int:
    """The version of the flag."""
    return flag_history("new_checkout")[0].version


def message_of(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(InvalidChangeError) as error:
        call(*arguments, **options)
    return str(error.value)


# The change.


def test_rename_writes_the_key_into_all_rules_that_name_it() -> None:
    mixed = [
        {"name": "a", "conditions": [{"segment": "other"}, {"segment": "enterprise"}]},
        {"conditions": [{"segment": "enterprise", "negate": True}, *PAYING], "rollout_percent": 5},
    ]
    changes.create_segment("other", LARGE)
    changes.create("search", rules=mixed)
    changes.create("banner", rules=rules("other"))
    experiments.create("price", rules=rules("enterprise"))
    changed = rename()
    assert (changed.key, changed.old, changed.new, changed.written) == (
        *("large", {"key": "enterprise"}, {"key": "large"}, True),
    )
    assert changed.version == segment_version("large")
    assert rules_of() == rules("large")
    assert rules_of("search") == [
        {"name": "a", "conditions": [{"segment": "other"}, {"segment": "large"}]},
        {"conditions": [{"segment": "large", "negate": True}, *PAYING], "rollout_percent": 5},
    ]
    assert rules_of("banner") == rules("other")
    assert Experiment.objects.get().rules == rules("large")


def test_same_key_writes_nothing() -> None:
    entries = Change.objects.count()
    assert not rename(new="enterprise").written
    assert Change.objects.count() == entries


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        ("other", "a segment 'other' already exists; change it, or use another key"),
        ("big customers", "key: "),
        ("x" * 256, "key: "),
        ("", "key: "),
    ],
)
def test_key_that_is_taken_or_invalid_is_refused(new: str, problem: str) -> None:
    changes.create_segment("other", LARGE)
    assert message_of(changes.rename_segment, "enterprise", new).startswith(problem)
    assert rules_of() == rules("enterprise")


def test_key_of_255_characters_is_accepted() -> None:
    assert rename(new="x" * 255).written
    assert rules_of() == rules("x" * 255)


def test_unknown_segment_is_refused() -> None:
    with pytest.raises(UnknownSegmentError, match="did you mean 'enterprise'"):
        changes.rename_segment("enterprize", "large")


def test_other_version_than_the_expected_one_is_a_conflict() -> None:
    seen = segment_version("enterprise")
    changes.update_segment("enterprise", {"description": "x"})
    with pytest.raises(ConflictError, match="but version"):
        changes.rename_segment("enterprise", "large", expect_version=seen)


def test_key_that_makes_rules_too_long_is_refused() -> None:
    conditions = [{"segment": "enterprise"}] * 100
    long = [{"name": str(number), "conditions": conditions} for number in range(60)]
    changes.update("new_checkout", {"rules": long})
    assert message_of(rename, new="x" * 255).startswith(
        "the rules of 'new_checkout' would not be valid with this key: "
    )
    assert Segment.objects.get().key == "enterprise"
    assert rename(new="short").written


def test_rules_that_sql_has_made_invalid_are_renamed() -> None:
    invalid = [{"conditions": [{"segment": "enterprise"}, {"segment": "gone"}], "unknown": 1}]
    FeatureFlag.objects.update(rules=invalid)
    rename()
    assert rules_of()[0]["conditions"] == [{"segment": "large"}, {"segment": "gone"}]


def test_key_that_rules_name_without_a_segment_is_refused() -> None:
    # Users of this flag would gain it.
    FeatureFlag.objects.create(key="search", rules=rules("large"))
    refused = (
        "the rules of 'search' name 'large' already, though no segment has this key; change these "
        "rules first"
    )
    assert message_of(rename) == refused
    rename(new="huge")
    FeatureFlag.objects.filter(key="search").update(rules=rules("enterprise"))
    assert message_of(changes.undo_segment, "huge") == refused.replace("large", "enterprise")
    assert rules_of() == rules("huge")


def test_preview_says_what_is_rewritten_and_writes_nothing() -> None:
    changes.create_segment("LARGE", LARGE)
    experiments.create("price", rules=rules("enterprise"))
    entries = Change.objects.count()
    preview = changes.preview_rename_segment("enterprise", "large")
    assert (preview.flags, preview.experiments) == (("new_checkout",), ("price",))
    assert preview.case_variants == ("LARGE",)
    assert preview.changed.new == {"key": "large"}
    assert Change.objects.count() == entries
    assert rules_of() == rules("enterprise")
    # The segment itself is no other one.
    assert changes.preview_rename_segment("LARGE", "Large").case_variants == ()


@pytest.mark.django_db(transaction=True)
def test_no_worker_sees_rules_that_name_a_missing_segment() -> None:
    with live_engine():
        for old, new in [("enterprise", "large"), ("large", "enterprise")] * 5:
            rename(old, new)
            # With the newest state, and with whatever the worker has.
            for _ in range(50):
                assert flag_enabled("new_checkout", 42, context={"plan": "paid"})
            refresh()
            assert flag_enabled("new_checkout", 42, context={"plan": "paid"})


# The history.


@pytest.mark.django_db(transaction=True)
def test_history_has_an_event_for_the_segment_and_for_each_flag() -> None:
    rename()
    [of_segment, _creation] = segment_history("large")
    of_flag = flag_history("new_checkout")[0]
    assert of_segment.transaction_id == of_flag.transaction_id
    assert (of_segment.actor, of_flag.actor) == ("ana", "ana")
    assert describe_change(of_segment) == 'renamed from "enterprise" to "large"'
    assert [one.field for one in of_flag.differences] == ["rules"]


# Undo.


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.django_db(transaction=True)
def test_undone_rename_restores_all_rules(*, whole: bool) -> None:
    experiments.create("price", rules=rules("enterprise"))
    changed = rename()
    changes.create("search", rules=rules("large"))
    if whole:
        done = {one.key: one.new for one in changes.undo_transaction(changed.version or 0)}
        assert done == {
            "enterprise": {"key": "enterprise"},
            "new_checkout": {"rules": rules("enterprise")},
        }
    else:
        assert changed.undo
        assert (
            changed.undo.command == f"python manage.py flags undo large {changed.version} --segment"
        )
        changes.undo_segment("large")
    assert Segment.objects.get().key == "enterprise"
    assert rules_of() == rules_of("search") == rules("enterprise")
    assert Experiment.objects.get().rules == rules("enterprise")


def test_undo_of_the_event_of_a_flag_has_nothing_to_write() -> None:
    rename()
    assert not changes.undo("new_checkout").written
    assert rules_of() == rules("large")


def test_undo_of_an_older_change_of_the_segment_keeps_the_present_key() -> None:
    with acting_as("bob"):
        change = changes.update_segment("enterprise", {"conditions": LARGE}).version
    rename()
    changes.undo_segment("large", change)
    segment = Segment.objects.get()
    assert (segment.key, segment.conditions) == ("large", PAYING)


def test_undo_of_an_older_change_of_rules_keeps_the_present_key() -> None:
    with acting_as("bob"):
        changed = changes.update("new_checkout", {"rules": [*rules("enterprise"), *rules()]})
        changed = changes.update(
            "new_checkout", {"rules": [{"name": "x", **rules("enterprise")[0]}]}
        )
    rename()
    rename("large", "huge", actor="eve")
    changes.undo("new_checkout", changed.version)
    assert rules_of() == rules("huge")


def test_undone_deletion_of_a_flag_names_the_present_key() -> None:
    with acting_as("bob"):
        changes.delete("new_checkout")
    rename()
    changes.undo("new_checkout")
    assert rules_of() == rules("large")


def test_renames_that_hand_a_key_on_are_undone_together() -> None:
    changes.create_segment("other", LARGE)
    changes.create("search", rules=rules("other"))
    versions = [rename().version or 0, rename("other", "enterprise").version or 0]
    assert (rules_of(), rules_of("search")) == (rules("large"), rules("enterprise"))
    changes.undo_events(versions)
    found = {row.key: row.conditions for row in Segment.objects.all()}
    assert found == {"enterprise": PAYING, "other": LARGE}
    assert (rules_of(), rules_of("search")) == (rules("enterprise"), rules("other"))


@pytest.mark.parametrize("conditions", [None, LARGE])
def test_preview_of_an_undone_rename_counts_users_by_the_conditions(conditions: Any) -> None:
    User.objects.create()
    with acting_as("ana"), transaction.atomic():
        changes.rename_segment("enterprise", "staff")
        if conditions is not None:
            changes.update_segment("staff", {"conditions": conditions})
    versions = [segment_history("staff")[0].version, version()]
    plan = preview_undo(select_versions(versions))
    assert (plan.refusal, plan.errors) == (None, [])
    assert plan.renamed_segments == {"staff": "enterprise"}
    effect = plan_segment_changes(plan.effects)
    if conditions is None:
        assert effect is None
    else:
        assert effect is not None
        assert [one.key for one in effect.uses] == ["new_checkout"]
    assert rules_of() == rules("staff")


# Restore.


def test_restored_flag_names_the_present_key() -> None:
    old = version()
    with acting_as("bob"):
        changes.update("new_checkout", {"rules": [], "description": "x"})
    rename()
    changes.restore("new_checkout", to=old)
    assert rules_of() == rules("large")
    with acting_as("bob"):
        changes.delete("new_checkout")
    changes.restore("new_checkout", to=old)
    assert rules_of() == rules("large")


def test_restored_flag_names_the_present_key_after_the_creation_was_pruned() -> None:
    rows("UPDATE flagstaff_change SET at = at - interval '10 days' WHERE relation = 's'")
    old = version()
    with acting_as("bob"):
        changes.update("new_checkout", {"rules": []})
    rename()
    prune(timedelta(days=1))
    assert len(segment_history("large")) == 1
    changes.restore("new_checkout", to=old)
    assert rules_of() == rules("large")


def test_rules_are_not_restored_if_another_segment_has_the_old_key() -> None:
    old = version()
    with acting_as("bob"):
        deletion = changes.update("new_checkout", {"rules": []}).version
    rename()
    changes.create_segment("enterprise", LARGE)
    refused = (
        "the rules of that version use the segment 'enterprise', which was renamed to 'large', and "
        "another segment has the old key now; change the rules by hand"
    )
    assert message_of(changes.restore, "new_checkout", to=old) == refused
    assert message_of(changes.undo, "new_checkout", deletion) == refused
    assert rules_of() == []


def test_rules_that_stay_do_not_refuse_a_restore_for_another_segment_with_the_old_key() -> None:
    old = version()
    with acting_as("bob"):
        changes.update("new_checkout", {"description": "x"})
    rename()
    changes.create_segment("enterprise", LARGE)
    changes.restore("new_checkout", to=old)
    found = FeatureFlag.objects.get()
    assert (found.description, found.rules) == ("", rules("large"))


def test_rules_of_a_segment_that_was_renamed_and_deleted_are_restored_after_it() -> None:
    old = version()
    changes.update("new_checkout", {"rules": []})
    rename()
    with acting_as("bob"):
        changes.delete_segment("large")
    assert message_of(changes.restore, "new_checkout", to=old) == (
        "rules: rule 1 names the segment 'large', which does not exist; undo its deletion first "
        'with "manage.py flags undo large --segment"'
    )
    changes.undo_segment("large")
    changes.restore("new_checkout", to=old)
    assert rules_of() == rules("large")


def test_other_segment_with_the_last_key_of_a_deleted_one_is_not_taken_for_it() -> None:
    old = version()
    changes.update("new_checkout", {"rules": []})
    rename()
    changes.delete_segment("large")
    changes.create_segment("large", LARGE)
    refused = message_of(changes.restore, "new_checkout", to=old)
    assert "names the segment 'enterprise', which does not exist" in refused


@pytest.mark.parametrize("deleted", [False, True])
def test_restored_segment_keeps_its_present_key(*, deleted: bool) -> None:
    old = segment_version("enterprise") or 0
    changes.update_segment("enterprise", {"conditions": LARGE})
    rename()
    if deleted:
        changes.delete("new_checkout")
        changes.delete_segment("large")
    changes.restore_segment("large", to=old)
    segment = Segment.objects.get()
    assert (segment.key, segment.conditions) == ("large", PAYING)


# The old key.


def test_old_key_in_new_rules_is_refused_with_the_new_one() -> None:
    rename()
    renamed = "the segment 'enterprise', which does not exist; it was renamed to 'large'"
    assert renamed in message_of(changes.update, "new_checkout", {"rules": rules("enterprise")})
    with pytest.raises(DocumentError, match="which was renamed to 'large'; use this key"):
        import_text(
            '{"flagstaff": 1, "flags": {"new_checkout": {"rules": '
            '[{"conditions": [{"segment": "enterprise"}]}]}}}',
        )


# Experiments.


def test_running_experiment_keeps_its_phase_and_its_exposures() -> None:
    experiment = experiments.create("price", rules=rules("enterprise"))
    experiments.start("price")
    Exposure.objects.create(
        experiment=experiment, shuffle=0, unit="1", variant="control", phase=1, at=timezone.now()
    )
    with acting_as("ana", reason="clearer"):
        changes.rename_segment("enterprise", "large")
    experiment.refresh_from_db()
    assert (experiment.state, experiment.phase, experiment.rules) == ("running", 1, rules("large"))
    assert Exposure.objects.count() == Phase.objects.count() == 1
    event = ExperimentEvent.objects.latest("id")
    assert (event.kind, str(event.message), event.actor, event.reason) == (
        *("edited", "the segment enterprise was renamed to large", "ana", "clearer"),
    )


def test_shipped_experiment_gets_the_new_key() -> None:
    experiments.create("price", rules=rules("enterprise"))
    experiments.start("price")
    experiments.ship("price", "control")
    rename()
    assert Experiment.objects.get().rules == rules("large")


def test_transaction_that_also_changes_conditions_is_undone() -> None:
    with acting_as("ana"), transaction.atomic():
        changes.rename_segment("enterprise", "large")
        changes.update_segment("large", {"conditions": LARGE})
    changes.undo_segment("large")
    segment = Segment.objects.get()
    assert (segment.key, segment.conditions, rules_of()) == (
        *("enterprise", PAYING, rules("enterprise")),
    )
