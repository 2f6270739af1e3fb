"""What is read about flags: their history, their usage, and their columns."""

import re
from datetime import date, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff import changes, rollouts
from flagstaff.history import prune
from flagstaff.models import Change, FeatureFlag
from flagstaff.stale.facts import assess_flags, stale_flags
from flagstaff.stale.signals import Signal
from tests.support.forced_off import forced_off
from tests.support.shop import ENTERPRISE
from tests.support.sql import keep_indexes, rows, statements_of
from tests.support.stale_flags import (
    KEY,
    age_history,
    assess_one,
    collect_usage,
    evaluate,
    make_flag,
    serve,
    signals,
)
from tests.support.usage_rows import add_usage, delete_usage

RULES: list[dict[str, Any]] = [{"conditions": [ENTERPRISE]}]


@pytest.fixture(autouse=True)
def _no_usage() -> None:
    Change.objects.all().delete()
    delete_usage()


def test_flag_at_100_percent_is_constant_since_the_change() -> None:
    flag = make_flag()
    changes.flags.set_rollout(KEY, 100)
    age_history(41)
    # All users have the flag anyway.
    flag.allowed_users.add(User.objects.create(username="alice"))
    # The change is also found behind many entries.
    for number in range(30):
        changes.flags.update(KEY, {"description": str(number)})
    [finding] = assess_one().findings
    assert (finding.signal, finding.days, finding.is_exact) == (Signal.CONSTANT, 41, True)
    assert finding.result is True


@pytest.mark.parametrize("rollout_first", [False, True])
def test_disabled_flag_is_constant_since_then_or_since_an_earlier_change_to_0(
    rollout_first: bool,
) -> None:
    make_flag()
    if rollout_first:
        changes.flags.set_rollout(KEY, 0)
    changes.flags.disable(KEY)
    age_history(35)
    changes.flags.set_rollout(KEY, 0)
    [finding] = assess_one().findings
    # After the rollout, users may have had the same result before.
    assert (finding.result, finding.days, finding.is_exact) == (False, 35, not rollout_first)


def test_entry_without_a_column_bounds_the_period() -> None:
    make_flag()
    changes.flags.set_rollout(KEY, 100)
    age_history(35)
    rows("UPDATE flagstaff_change SET old = old - 'rollout_percent' WHERE action = 'update'")
    [finding] = assess_one().findings
    assert (finding.days, finding.is_exact) == (35, False)


def test_flag_at_0_percent_is_constant_since_its_last_allowed_user_left() -> None:
    flag = make_flag(rollout_percent=0)
    user = User.objects.create(username="alice")
    flag.allowed_users.add(user)
    assert signals() == {}
    age_history(5)
    user.delete()
    age_history(33)
    assert signals() == {"constant": 33}


def test_rule_that_can_grant_or_refuse_keeps_a_flag_from_being_stale() -> None:
    make_flag("a", rollout_percent=0, rules=RULES)
    make_flag("b", rollout_percent=100, rules=[{**RULES[0], "rollout_percent": 9}])
    make_flag("c", rollout_percent=100, rules=RULES)
    assert [flag.facts.key for flag in stale_flags()] == ["c"]


def test_removed_rule_begins_the_period() -> None:
    make_flag(rollout_percent=0, rules=RULES)
    FeatureFlag.objects.update(rules=[])
    age_history(31)
    assert signals() == {"constant": 31}


def test_pruned_history_bounds_the_period() -> None:
    make_flag(rollout_percent=100)
    changes.flags.update(KEY, {"description": "a"})
    age_history(40)
    prune(timedelta(days=50))
    [finding] = assess_one().findings
    assert (finding.days, finding.is_exact) == (40, False)


def test_flag_that_is_older_than_the_history_is_bound_by_its_begin() -> None:
    make_flag(rollout_percent=100, days=90)
    Change.objects.all().delete()
    assert signals() == {}
    make_flag("another", days=50)
    [finding] = assess_one().findings
    assert (finding.days, finding.is_exact) == (50, False)


def test_change_without_an_entry_makes_the_period_unknown() -> None:
    make_flag()
    changes.flags.set_rollout(KEY, 100)
    age_history(40)
    Change.objects.latest("id").delete()
    assert signals() == {}


def test_missing_triggers_make_the_period_unknown() -> None:
    make_flag(rollout_percent=100)
    rows("ALTER TABLE flagstaff_featureflag DISABLE TRIGGER USER")
    assessment = assess_one()
    assert assessment.findings == ()
    assert [signal.signal for signal in assessment.unknown] == [
        Signal.CONSTANT,
        Signal.NOT_EVALUATED,
    ]


def test_flag_that_is_forced_off_is_not_on_for_all_users() -> None:
    make_flag(rollout_percent=100)
    make_flag("dark_mode", enabled=False)
    with forced_off([KEY, "dark_mode"]):
        assessment = assess_one()
        [disabled] = assess_one("dark_mode").findings
    assert assessment.findings == ()
    why = "the flag is forced off in this process by FLAGSTAFF_FORCE_OFF"
    assert assessment.unknown[0].why == why
    assert disabled.result is False


def test_flag_without_a_change_is_constant_since_its_creation_unless_a_plan_is_active() -> None:
    make_flag(rollout_percent=0)
    assert signals() == {"constant": 60}
    assert assess_one().findings[0].is_exact
    rollouts.create(KEY)
    assert signals() == {}


def test_flag_that_was_deleted_and_restored_begins_anew() -> None:
    make_flag(rollout_percent=100)
    # As by another transaction: what one creates and deletes is nothing to bring back.
    Change.objects.update(transaction_id=1)
    changes.flags.delete(KEY)
    changes.flags.undo(KEY)
    assert signals() == {}


def test_flag_without_an_evaluation_in_the_days_is_stale() -> None:
    make_flag()
    make_flag("never", days=45)
    collect_usage()
    evaluate(KEY, 33.5)
    evaluate(KEY, 50)
    [finding] = assess_one().findings
    assert (finding.signal, finding.days, finding.is_exact) == (Signal.NOT_EVALUATED, 33, True)
    assert signals("never") == {"not-evaluated": 45}


def test_flag_that_got_its_key_in_the_days_is_not_stale() -> None:
    flag = make_flag("old_checkout")
    flag.key = KEY
    flag.save()
    collect_usage()
    assert signals() == {}
    # The rename is also found behind many entries.
    for number in range(30):
        changes.flags.update(KEY, {"description": str(number)})
    assert signals() == {}


def test_pause_between_workers_makes_usage_unknown() -> None:
    make_flag()
    collect_usage(90, until=20)
    collect_usage(15, more=True)
    assert assess_one().unknown[0].why == "for 5 days, no worker reported its usage"
    collect_usage(25, until=14, more=True)
    assert signals() == {"not-evaluated": 60}


def test_pruned_usage_is_unknown() -> None:
    make_flag()
    collect_usage()
    rows("DELETE FROM flagstaff_usage WHERE hour < now() - '9 days'::interval")
    assert assess_one().unknown[0].why.startswith("usage is known only since ")


def test_missing_usage_tables_make_usage_unknown() -> None:
    make_flag(rollout_percent=100)
    rows("DROP TABLE flagstaff_usage")
    assessment = assess_one()
    assert [finding.signal for finding in assessment.findings] == [Signal.CONSTANT]
    assert assessment.unknown[0].why.startswith("usage is not available; ")


def test_flag_served_to_browsers_is_in_use() -> None:
    make_flag(client_side=True)
    collect_usage()
    serve(KEY, 40, to_browsers=True)
    assert signals() == {"not-evaluated": 40}
    serve(KEY, 3, to_browsers=True)
    assessment = assess_one()
    assert (assessment.findings, assessment.unknown) == ((), ())


def test_flag_that_a_condition_reads_is_in_use() -> None:
    make_flag()
    collect_usage()
    add_usage(KEY, "needed", 0, 40)
    assert signals() == {"not-evaluated": 40}
    add_usage(KEY, "needed", 0, 3)
    assert signals() == {}


def test_flag_served_in_bulk_is_not_known_to_be_unused() -> None:
    make_flag()
    collect_usage()
    evaluate(KEY, 50)
    serve(KEY, 3)
    assessment = assess_one()
    assert assessment.findings == ()
    [unknown] = assessment.unknown
    assert unknown.why.startswith("served in bulk on 20")
    assert unknown.why.endswith("; an evaluation of one key would be counted")
    evaluate(KEY, 2)
    assert assess_one().unknown == ()


def test_review_date_owner_and_tags_are_read_from_the_flag() -> None:
    make_flag(review_on=date(2020, 1, 31), owner="web", tags=["a", "b"])
    collect_usage()
    evaluate(KEY)
    assessment = assess_one()
    assert [(finding.signal, finding.since) for finding in assessment.findings] == [
        (Signal.REVIEW, date(2020, 1, 31))
    ]
    assert (assessment.facts.owner, assessment.facts.tags) == ("web", ("a", "b"))


def test_days_default_to_the_setting(settings: Any) -> None:
    make_flag(rollout_percent=100, days=20)
    assert stale_flags() == []
    assert [flag.facts.key for flag in stale_flags(20)] == [KEY]
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "STALE_DAYS": 20}
    assert [flag.facts.key for flag in stale_flags()] == [KEY]


@pytest.mark.parametrize("days", [0, -1, 36_501, 10**12, 1.5, True])
def test_days_that_are_no_number_of_days_are_refused(days: Any) -> None:
    with pytest.raises(ValueError, match="days must be a whole number from 1 to 3,650, not "):
        stale_flags(days)


def test_number_of_queries_does_not_depend_on_the_number_of_flags() -> None:
    collect_usage()
    make_flag("a", rollout_percent=100)
    with_few_flags = len(statements_of(assess_flags))
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=f"flag_{n}", enabled=True, rollout_percent=n % 2 * 100) for n in range(50)
    )
    assert len(statements_of(assess_flags)) == with_few_flags <= 8


def test_entries_that_are_read_do_not_depend_on_the_length_of_the_history() -> None:
    def read() -> tuple[int, int]:
        """The numbers of queries, and of entries read."""
        statements = statements_of(assess_flags)
        return len(statements), sum(
            len(rows(statement)) for statement in statements if "AS part" in statement
        )

    make_flag("on", rollout_percent=100)
    make_flag("off", enabled=False)
    before = read()
    for number in range(50):
        FeatureFlag.objects.update(description=str(number))
        FeatureFlag.objects.filter(key="off").update(rollout_percent=number)
    assert read() == before
    # The creation of each flag, as the begin of its period and of its key.
    assert before[1] <= 4


def test_decisive_entries_are_found_by_indexes_of_them_alone() -> None:
    make_flag(rollout_percent=100)
    [query] = [statement for statement in statements_of(assess_flags) if "AS part" in statement]
    names = {"flagstaff_change_state", "flagstaff_change_named"}
    keep_indexes("flagstaff_change", *names)
    plan = "\n".join(line for (line,) in rows(f"EXPLAIN {query}"))
    assert set(re.findall(r"using (\w+) on .*\n +Index Cond: \(object_pk = ", plan)) == names
