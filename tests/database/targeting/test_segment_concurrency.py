"""Segments that change beside rules that name them, each with a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest

from flagstaff import acting_as, changes, experiments, serialization
from flagstaff._words.rule_parts import named_segments
from flagstaff.exceptions import FlagstaffError, InvalidChangeError, InvalidExperimentError
from flagstaff.experiments.models import Experiment
from flagstaff.models import FeatureFlag, Segment
from tests.support.concurrency import in_threads, run_during
from tests.support.history import flag_history
from tests.support.repeats import repeats
from tests.support.segment_rules import LARGE, PAYING, rules, rules_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def used() -> Iterator[None]:
    """Two segments, of which a flag uses one. Afterwards, no rule names a missing segment."""
    changes.segments.create("enterprise", PAYING)
    changes.segments.create("other", LARGE)
    changes.flags.create("new_checkout", rules=rules("enterprise"))
    changes.flags.create("banner")
    yield
    keys = {*Segment.objects.values_list("key", flat=True)}
    for model in (FeatureFlag, Experiment):
        for stored in model.objects.values_list("rules", flat=True):
            assert {key for key, _place in named_segments(stored)} <= keys


def use(key: str = "other") -> None:
    changes.flags.update("banner", {"rules": rules(key)})


def create_experiment() -> None:
    experiments.create("price", rules=rules("other"))


def delete() -> None:
    changes.segments.delete("other")


def test_undo_of_the_creation_of_a_segment_that_is_used_meanwhile_is_refused() -> None:
    with pytest.raises(InvalidChangeError, match="'other' is used by the rules of 'banner'"):
        run_during(use, lambda: changes.segments.undo("other"))
    assert rules_of("banner") == rules("other")


def test_segment_of_an_experiment_that_is_created_meanwhile_is_not_deleted() -> None:
    with pytest.raises(InvalidChangeError, match="'other' is used by the rules of experiment"):
        run_during(create_experiment, delete)
    assert Segment.objects.filter(key="other").exists()


def test_experiment_is_refused_after_a_deletion_of_its_segment_that_it_waited_for() -> None:
    with pytest.raises(InvalidExperimentError, match="'other', which does not exist"):
        run_during(delete, create_experiment)
    assert not Experiment.objects.exists()


@pytest.mark.parametrize("is_undo", [True, False])
def test_undo_or_restore_that_waited_for_a_deletion_of_the_segment_is_refused(
    *, is_undo: bool
) -> None:
    use()
    before = flag_history("banner")[0].version
    with acting_as("bob"):
        changes.flags.update("banner", {"rules": []})
    undo, restore = (
        partial(changes.flags.undo, "banner"),
        partial(changes.flags.restore, "banner", to=before),
    )
    with pytest.raises(InvalidChangeError, match="'other', which does not exist"):
        run_during(delete, undo if is_undo else restore)
    assert rules_of("banner") == []


def test_undo_of_rules_that_waited_for_other_conditions_is_written() -> None:
    use()
    changes.flags.update("banner", {"rules": []})
    run_during(
        lambda: changes.segments.update("other", {"conditions": PAYING}),
        lambda: changes.flags.undo("banner"),
    )
    assert rules_of("banner") == rules("other")


def test_segments_undos_and_changes_of_rules_do_not_deadlock() -> None:
    both = rules("other", "enterprise")
    newest = flag_history("new_checkout")[0].version
    documents = [
        {
            "flagstaff": 1,
            "segments": {key: {"conditions": conditions} for key in ("enterprise", "other")},
            "flags": {"banner": {"rules": rules(*names)}, "new_checkout": {"rules": rules(*names)}},
        }
        for conditions, names in ((LARGE, ("enterprise",)), (PAYING, ("other", "enterprise")))
    ]

    def attempt(*calls: Callable[[], object]) -> None:
        for call in calls:
            with suppress(FlagstaffError):  # A refusal. A deadlock is an error of the database.
                call()

    def edit(key: str) -> None:
        with acting_as("ana"):
            changes.segments.update(key, {"conditions": PAYING})
            changes.segments.update(key, {"conditions": LARGE})

    for _ in range(repeats(50, 5)):
        in_threads(
            partial(attempt, partial(edit, "enterprise"), delete),
            partial(attempt, partial(edit, "other"), partial(changes.segments.undo, "other")),
            partial(
                attempt, use, partial(use, "enterprise"), partial(changes.flags.undo, "banner")
            ),
            partial(
                attempt,
                partial(changes.flags.update, "new_checkout", {"rules": both}),
                partial(changes.flags.undo, "new_checkout"),
                partial(changes.flags.restore, "new_checkout", to=newest),
            ),
            partial(attempt, partial(changes.segments.create, "other", LARGE)),
            partial(attempt, *(partial(serialization.apply, document) for document in documents)),
        )
