"""Renames of segments beside other changes, each with a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest

from flagstaff import acting_as, changes, experiments
from flagstaff._words.rule_parts import named_segments
from flagstaff.exceptions import FlagstaffError, InvalidChangeError, UnknownSegmentError
from flagstaff.experiments.models import Experiment
from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag, Segment
from tests.support.concurrency import in_threads, run_during
from tests.support.repeats import repeats
from tests.support.segment_rules import LARGE, PAYING, rules, rules_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def used() -> Iterator[None]:
    """A segment that one of two flags uses."""
    changes.create_segment("enterprise", PAYING)
    changes.create("new_checkout", rules=rules("enterprise"))
    changes.create("banner")
    yield
    keys = {*Segment.objects.values_list("key", flat=True)}
    for flag in FeatureFlag.objects.all():
        assert {key for key, _place in named_segments(flag.rules)} <= keys


def rename(old: str = "enterprise", new: str = "large") -> changes.Changed:
    with acting_as("ana"):
        return changes.rename_segment(old, new)


def use(key: str = "enterprise") -> None:
    changes.update("banner", {"rules": rules(key)})


def test_rules_that_begin_to_name_the_segment_meanwhile_are_renamed() -> None:
    # The rename has locked other flags when it finds this one.
    assert run_during(use, rename).written
    assert rules_of("banner") == rules_of() == rules("large")


def test_experiment_that_is_created_meanwhile_is_renamed() -> None:
    run_during(lambda: experiments.create("price", rules=rules("enterprise")), rename)
    assert Experiment.objects.get().rules == rules("large")


def test_experiment_that_starts_meanwhile_is_renamed() -> None:
    experiments.create("price", rules=rules("enterprise"))
    run_during(lambda: experiments.start("price"), rename)
    experiment = Experiment.objects.get()
    assert (experiment.rules, experiment.phase) == (rules("large"), 1)


def test_experiment_starts_with_the_new_key_after_a_rename_that_it_waited_for() -> None:
    experiments.create("price", rules=rules("enterprise"))
    run_during(rename, lambda: experiments.start("price"))
    assert Experiment.objects.get().rules == rules("large")


def test_rules_with_the_old_key_are_refused_after_a_rename_that_they_waited_for() -> None:
    with pytest.raises(InvalidChangeError, match="it was renamed to 'large'"):
        run_during(rename, use)
    assert rules_of("banner") == []


def test_rename_waits_for_a_change_of_rules_that_needs_the_segment_later() -> None:
    # Renamed first, the segment would be locked by the one and the flag by the other.
    def edit() -> None:
        changes.update("new_checkout", {"rules": rules()})

    def edit_again() -> None:
        changes.update("new_checkout", {"rules": [{"name": "x", **rules("enterprise")[0]}]})

    assert run_during(edit, rename, edit_again).written
    assert rules_of() == [{"name": "x", **rules("large")[0]}]


def test_segment_is_renamed_by_one_of_two_renames() -> None:
    with pytest.raises(UnknownSegmentError):
        run_during(rename, lambda: rename(new="huge"))
    assert rules_of() == rules("large")


def test_key_is_given_to_one_of_two_segments() -> None:
    changes.create_segment("other", LARGE)
    use("other")
    with pytest.raises(InvalidChangeError, match="a segment 'large' already exists"):
        run_during(rename, lambda: rename("other"))
    assert (rules_of(), rules_of("banner")) == (rules("large"), rules("other"))


@pytest.mark.parametrize("is_undo", [True, False])
def test_undo_or_restore_that_waited_for_a_rename_names_the_new_key(*, is_undo: bool) -> None:
    before = flag_history("new_checkout")[0].version
    with acting_as("bob"):
        changes.update("new_checkout", {"rules": [{"name": "x", **rules("enterprise")[0]}]})
    if is_undo:
        run_during(rename, lambda: changes.undo("new_checkout"))
    else:
        run_during(rename, lambda: changes.restore("new_checkout", to=before))
    assert rules_of() == rules("large")


def test_undone_rename_renames_rules_that_begin_to_name_the_segment_meanwhile() -> None:
    rename()
    run_during(lambda: use("large"), lambda: changes.undo_segment("large"))
    assert rules_of() == rules_of("banner") == rules("enterprise")


def test_rename_waits_for_an_undo_that_renames_the_segment() -> None:
    rename()
    with pytest.raises(UnknownSegmentError):
        run_during(lambda: changes.undo_segment("large"), lambda: rename("large", "huge"))
    assert rules_of() == rules("enterprise")


def test_renames_undos_and_changes_of_rules_do_not_deadlock() -> None:
    changes.create_segment("other", LARGE)
    both = rules("other", "enterprise")

    def attempt(*calls: Callable[[], object]) -> None:
        for call in calls:
            with suppress(FlagstaffError):  # A refusal. A deadlock is an error of the database.
                call()

    for _ in range(repeats(50, 5)):
        in_threads(
            partial(attempt, rename, partial(rename, "large", "enterprise")),
            partial(attempt, partial(rename, "other"), partial(changes.undo_segment, "large")),
            partial(attempt, use, partial(use, "other"), partial(use, "large")),
            partial(
                attempt,
                partial(changes.update, "new_checkout", {"rules": both}),
                partial(changes.undo, "new_checkout"),
            ),
        )
