"""Segments that change beside rules that name them, each with a connection of its own."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest

from flagstaff import acting_as, changes, experiments, serialization
from flagstaff._text.rules import named_segments
from flagstaff.exceptions import DocumentError, FlagstaffError, InvalidChangeError
from flagstaff.experiments.models import Experiment
from flagstaff.models import FeatureFlag, Segment
from tests.support.concurrency import in_threads, run_during
from tests.support.documents import import_text
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


ENTERPRISE_ALONE = json.dumps({"flagstaff": 1, "segments": {"enterprise": {"conditions": PAYING}}})
use = partial(changes.flags.update, "banner", {"rules": rules("other")})
delete = partial(changes.segments.delete, "other")
create_experiment = partial(experiments.create, "price", rules=rules("other"))
# What an open transaction does, a deletion that waits for it, and what uses the segment then.
STAYS: dict[str, tuple[Callable[[], object], Callable[[], object], str]] = {
    "deletion": (use, delete, "'banner'"),
    "deletion by the ORM": (use, lambda: Segment.objects.filter(key="other").delete(), "'banner'"),
    "import": (use, lambda: import_text(ENTERPRISE_ALONE, delete_missing=True), "'banner'"),
    "undo of the creation": (use, lambda: changes.segments.undo("other"), "'banner'"),
    "deletion, and an experiment": (create_experiment, delete, "experiment 'price'"),
}
# What waits for a deletion of the segment, after a change of its rules.
REFUSED: dict[str, Callable[[], object]] = {
    "rules": use,
    "experiment": create_experiment,
    "undo": partial(changes.flags.undo, "banner"),
    "restore": lambda: changes.flags.restore("banner", to=flag_history("banner")[1].version),
}


@pytest.mark.parametrize(("change", "deletion", "user"), STAYS.values(), ids=STAYS)
def test_segment_that_is_used_meanwhile_stays(
    change: Callable[[], object], deletion: Callable[[], object], user: str
) -> None:
    used = f"'other' is used by the rules of {user}"
    with pytest.raises((InvalidChangeError, DocumentError), match=used):
        run_during(change, deletion)
    assert Segment.objects.filter(key="other").exists()


@pytest.mark.parametrize("write", REFUSED.values(), ids=REFUSED)
def test_rules_are_refused_after_a_deletion_of_their_segment_that_they_waited_for(
    write: Callable[[], object],
) -> None:
    use()
    with acting_as("bob"):
        changes.flags.update("banner", {"rules": []})
    with pytest.raises(FlagstaffError, match="'other', which does not exist"):
        run_during(delete, write)
    assert rules_of("banner") == []
    assert not Experiment.objects.exists()


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
                attempt,
                use,
                partial(changes.flags.update, "banner", {"rules": rules("enterprise")}),
                partial(changes.flags.undo, "banner"),
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
