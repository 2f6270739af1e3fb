"""Segments: created, changed, deleted, undone and restored; the rules that name them."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from flagstaff import acting_as, changes, experiments, flag_enabled, refresh, status
from flagstaff.exceptions import (
    ConflictError,
    DocumentError,
    InvalidExperimentError,
    UnknownSegmentError,
)
from flagstaff.history import segment_version
from flagstaff.models import Change, FeatureFlag, Segment
from flagstaff.testing import live_engine
from tests.support.documents import import_text
from tests.support.history import flag_history, segment_history
from tests.support.history_fixtures import undo_transaction
from tests.support.segment_rules import LARGE, PAYING, message_of, rules
from tests.support.sql import rows
from tests.support.terminals import document


@pytest.fixture
def enterprise() -> Segment:
    # Entries of earlier tests may have the same primary keys.
    Change.objects.all().delete()
    with acting_as("alice"):
        changes.segments.create("enterprise", PAYING)
    return Segment.objects.get()


FIXED = "key: the key of a segment cannot be changed, because rules name it; create another segment"


def test_created_segment_is_stored_once_and_can_be_undone() -> None:
    changed = changes.segments.create("enterprise", PAYING, description="Customers who pay")
    segment = Segment.objects.get()
    assert (segment.conditions, segment.description) == (PAYING, "Customers who pay")
    assert changed.undo
    assert changed.undo.arguments == ("segment", "undo", "enterprise", str(changed.version))
    again = changes.segments.create("enterprise", PAYING, description="Customers who pay")
    assert not again.written
    assert message_of(changes.segments.create, "enterprise", LARGE) == (
        "a segment 'enterprise' already exists; change it, or use another key"
    )


def test_invalid_or_unknown_key_of_a_segment_is_rejected(enterprise: Segment) -> None:
    assert "white space" in message_of(changes.segments.create, "big customers", PAYING)
    with pytest.raises(UnknownSegmentError) as error:
        changes.segments.update("enterprize", {"conditions": LARGE})
    assert str(error.value) == "there is no segment 'enterprize'; did you mean 'enterprise'?"


def test_other_key_of_a_segment_is_refused(enterprise: Segment) -> None:
    update = {"key": "large", "conditions": LARGE}
    assert message_of(changes.segments.update, "enterprise", update) == FIXED
    enterprise.refresh_from_db()
    assert (enterprise.key, enterprise.conditions) == ("enterprise", PAYING)
    # The present key is no change.
    update = {"key": "enterprise", "conditions": LARGE}
    assert changes.segments.update("enterprise", update).written


def test_segment_is_deleted_once(enterprise: Segment) -> None:
    assert changes.segments.delete("enterprise").written
    assert not changes.segments.delete("enterprise").written
    with pytest.raises(UnknownSegmentError, match="segment list"):
        changes.segments.delete("never_existed")


@pytest.fixture
def flag(enterprise: Segment) -> FeatureFlag:
    changes.flags.create("new_checkout", rules=rules("enterprise"))
    return FeatureFlag.objects.get()


ENTERPRISE_RULES = rules("enterprise")
# Creates something whose rules name the segment, how messages name it, and ends that.
USES: dict[str, tuple[Callable[[], object], str, Callable[[], object]]] = {
    "flags": (
        lambda: [
            changes.flags.create(key, rules=ENTERPRISE_RULES) for key in ("new_checkout", "search")
        ],
        "'new_checkout', 'search'",
        lambda: FeatureFlag.objects.update(rules=[]),
    ),
    "value": (
        lambda: changes.values.create("limit", 10, rules=[{**ENTERPRISE_RULES[0], "value": 50}]),
        "value 'limit'",
        lambda: changes.values.update("limit", {"rules": []}),
    ),
    "experiment": (
        lambda: experiments.create("price", rules=ENTERPRISE_RULES),
        "experiment 'price'",
        lambda: (experiments.start("price"), experiments.ship("price", "control")),
    ),
}


@pytest.mark.usefixtures("enterprise")
@pytest.mark.parametrize(("use", "name", "end"), USES.values(), ids=USES)
def test_segment_is_not_deleted_while_rules_name_it(
    use: Callable[[], object], name: str, end: Callable[[], object]
) -> None:
    use()
    used = f"the segment 'enterprise' is used by the rules of {name}; change these rules first"
    assert message_of(changes.segments.delete, "enterprise") == used
    assert message_of(transaction.atomic(Segment.objects.get().delete)) == used
    assert message_of(transaction.atomic(Segment.objects.all().delete)) == used
    assert "is used by" in message_of(changes.segments.undo, "enterprise")
    shown = document("segment", "show", "enterprise")
    users = [*shown["flags"], *shown["values"], *shown["experiments"]]
    assert users == re.findall(r"'(\w+)'", name)
    with pytest.raises(
        DocumentError, match=f"used by the rules of {name.split(',', maxsplit=1)[0]}"
    ):
        import_text("flagstaff: 1\nsegments: {}", delete_missing=True)
    end()
    Segment.objects.create(key="large", conditions=LARGE).delete()
    assert changes.segments.delete("enterprise").written


# Rules, and the message.
INVALID_RULES: dict[str, tuple[Any, str]] = {
    "a segment that is misspelled": (
        [{"name": "beta", **rules("enterprize")[0]}],
        (
            "rule 1 (\"beta\") names the segment 'enterprize', which does not exist; "
            "did you mean 'enterprise'?"
        ),
    ),
    "a segment that does not exist": (
        rules("unlike"),
        (
            "rule 1 names the segment 'unlike', which does not exist; create it first with "
            '"manage.py flags segment create"'
        ),
    ),
    "a name of two lines": (
        [{"name": 'a\n"é"', **rules("gone")[0]}],
        r'rule 1 ("a\n\"é\"") names the segment',
    ),
    "tuples": (({"conditions": ({"segment": "gone"},)},), "rule 1 names the segment 'gone'"),
}


@pytest.mark.parametrize(("invalid", "message"), INVALID_RULES.values(), ids=INVALID_RULES)
def test_invalid_rules_are_rejected(flag: FeatureFlag, invalid: Any, message: str) -> None:
    for text in (
        message_of(changes.flags.update, "new_checkout", {"rules": invalid}),
        message_of(changes.flags.create, "search", rules=invalid),
    ):
        assert text.startswith(f"rules: {message}")
    with pytest.raises(InvalidExperimentError, match=re.escape(message)):
        experiments.create("price", rules=invalid)
    assert FeatureFlag.objects.get().rules == rules("enterprise")


def test_import_deletes_a_segment_together_with_the_value_that_uses_it(enterprise: Segment) -> None:
    changes.values.create("limit", 10, rules=[{**ENTERPRISE_RULES[0], "value": 50}])
    import_text("flagstaff: 1\nsegments: {}\nvalues: {}", delete_missing=True)
    assert not Segment.objects.exists()


def test_tuples_are_stored_as_lists(enterprise: Segment) -> None:
    changes.flags.create("search", rules=tuple(rules("enterprise")))
    assert FeatureFlag.objects.get(key="search").rules == rules("enterprise")
    assert not changes.flags.update("search", {"rules": tuple(rules("enterprise"))}).written


def test_flag_whose_rules_name_a_missing_segment_is_disabled() -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rules=rules("gone"))
    assert changes.flags.disable("new_checkout").written


def test_segment_in_json_of_another_form_is_ignored(enterprise: Segment) -> None:
    rows(
        "INSERT INTO flagstaff_featureflag (key, rules) VALUES "
        """('a', '{"segment": "enterprise"}'), ('b', '[1, {"conditions": 2}]'), ('c', '2')"""
    )
    assert changes.segments.delete("enterprise").written


GONE = (
    "rule 1 names the segment 'enterprise', which does not exist; undo its deletion first "
    'with "manage.py flags segment undo enterprise"'
)


def test_undo_and_restore_of_rules_whose_segment_is_gone_are_refused(flag: FeatureFlag) -> None:
    version = flag_history("new_checkout")[0].version
    with acting_as("bob"):
        changes.flags.update("new_checkout", {"rules": []})
        changes.segments.delete("enterprise")
    assert message_of(changes.flags.undo, "new_checkout").endswith(GONE)
    assert message_of(changes.flags.restore, "new_checkout", to=version).endswith(GONE)
    changes.segments.undo("enterprise")
    changes.flags.undo("new_checkout")
    assert FeatureFlag.objects.get().rules == rules("enterprise")
    with acting_as("carol"):
        changes.flags.delete("new_checkout")
        changes.segments.delete("enterprise")
    assert message_of(changes.flags.undo, "new_checkout").endswith(GONE)
    assert not FeatureFlag.objects.exists()


def test_flag_whose_segment_is_gone_is_disabled_by_an_undo(flag: FeatureFlag) -> None:
    with acting_as("bob"):
        changes.flags.enable("new_checkout")
    # Only SQL deletes a segment that rules name.
    rows("DELETE FROM flagstaff_segment")
    assert segment_history("enterprise")[0].action == "delete"
    changes.flags.undo("new_checkout")
    assert not FeatureFlag.objects.get().enabled


@pytest.mark.django_db(transaction=True)
def test_transaction_in_which_sql_changed_the_key_of_a_segment_is_not_undone() -> None:
    changes.segments.create("enterprise", PAYING)
    changes.flags.create("new_checkout", rules=rules("enterprise"))
    with transaction.atomic():
        Segment.objects.update(key="large")
        FeatureFlag.objects.update(rules=rules("large"))
    with pytest.raises(ConflictError, match=FIXED):
        undo_transaction(Change.objects.latest("id").pk)
    assert Segment.objects.get().key == "large"
    assert FeatureFlag.objects.get().rules == rules("large")


def test_restore_of_a_segment_whose_key_sql_has_changed_is_refused(enterprise: Segment) -> None:
    version = segment_version("enterprise") or 0
    Segment.objects.update(key="large", conditions=LARGE)
    assert message_of(changes.segments.restore, "large", to=version) == FIXED
    assert Segment.objects.get().conditions == LARGE


@pytest.mark.django_db(transaction=True)
def test_rule_is_false_while_sql_has_given_its_segment_another_key() -> None:
    changes.segments.create("enterprise", PAYING)
    changes.flags.create("new_checkout", enabled=True, rollout_percent=0, rules=rules("enterprise"))

    def evaluated() -> bool:
        refresh()
        return flag_enabled("new_checkout", 42, context={"plan": "paid"})

    with live_engine():
        assert evaluated()
        Segment.objects.update(key="large")
        assert not evaluated()
        [problem] = status().problems
        assert "enterprise" in problem
        Segment.objects.update(key="enterprise")
        assert evaluated()
