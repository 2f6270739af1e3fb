"""The cases of rules, evaluated by the reference and by the functions of the package.

`tests/core/conformance_rules.rs` runs the same cases on the Rust core.
"""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from flagstaff import all_flags, explain, flag_enabled, refresh, snapshot
from flagstaff._core import Snapshot
from flagstaff._evaluation import Explanation, explanation_of
from tests.conformance.rule_cases import (
    ATTRIBUTES,
    BERLIN,
    Case,
    context_of,
    needs_user,
    users_of,
)
from tests.conformance.rules_oracle import (
    Flag,
    bucket_of,
    decoded,
    evaluate,
    loads,
)
from tests.conformance.stored_rules import clear, store
from tests.support.conditions import outcomes_of
from tests.support.fixtures import Load

#: Cases that are stored together. Each has its own key, except that a bucket depends on the key.
Group = list[tuple[str, Case]]
GROUPED = 40

TEXT = Path(__file__).with_name("cases_rules.json").read_text(encoding="utf-8")
CASES: list[Case] = loads(TEXT)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# jsonb stores these numbers as integers, which no float equals.
CHANGED_BY_JSONB = {"float 1e300 in [1e300]", "float inf in [1e999]"}


def flag_of(case: Case, key: str = "new_checkout") -> Flag:
    """The flag of a case. Without columns it is on at 0 %."""
    flags: dict[str, Flag] = {}
    needed = case.get("flags", {})
    for name, columns in (
        {**needed, key: {**case.get("flag", {}), "rules": case["rules"]}}
    ).items():
        fields = {"enabled": True, "rollout_percent": 0, "rules": [], **columns}
        fields["allowed"] = frozenset(columns.get("allowed", ()))
        flags[name] = Flag(name, segments=case.get("segments", {}), flags=flags, **fields)
    return flags[key]


def test_reference_returns_the_expected_results(subtests: pytest.Subtests) -> None:
    for case in CASES:
        with subtests.test(case["name"]):
            attributes = {name: decoded(value) for name, value in case["attributes"].items()}
            # A case without a user has the one with primary key 2.
            result = evaluate(flag_of(case), case.get("user", "2"), attributes, BERLIN)
            assert result._asdict() == {name: case[name] for name in result._fields}


def test_no_case_reads_groups_which_no_context_can_set() -> None:
    assert [case["name"] for case in CASES if '"groups"' in json.dumps(case)] == []


def test_names_of_the_cases_are_unique() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES) > 480


def test_moments_of_the_cases_match_python() -> None:
    for value in moments(json.loads(TEXT)):
        if "date" in value:
            assert date.fromisoformat(value["date"]) == date(1970, 1, 1) + timedelta(value["days"])
        else:
            utc = EPOCH + timedelta(microseconds=value["micros"])
            assert datetime.fromisoformat(value["datetime"]) == utc


def moments(json_value: Any) -> list[dict[str, Any]]:
    """The dates and datetimes in a JSON value."""
    if isinstance(json_value, list):
        return [moment for element in json_value for moment in moments(element)]
    if not isinstance(json_value, dict):
        return []
    if json_value.keys() & {"days", "micros"}:
        return [json_value]
    return moments(list(json_value.values()))


def cases(*, of_user_objects: bool) -> list[Case]:
    """The cases whose rules need the user object, or the others. Attributes are plain JSON."""
    exact = {case["name"]: case for case in CASES}
    selected = [
        {**exact[case["name"]], "attributes": case["attributes"]}
        for case in json.loads(TEXT)
        if case["name"] not in CHANGED_BY_JSONB
    ]
    return [case for case in selected if needs_user(case) is of_user_objects]


def groups(cases: list[Case]) -> Iterator[Group]:
    """The cases without a bucket and other flags in groups, and each of the others alone."""
    alone = [case for case in cases if case["bucket"] is not None or "flags" in case]
    together = [(f"case_{i}", case) for i, case in enumerate(cases) if case not in alone]
    # `all_flags` evaluates all flags of a group for each of its cases.
    yield from (together[start : start + GROUPED] for start in range(0, len(together), GROUPED))
    yield from ([("new_checkout", case)] for case in alone)


@pytest.fixture(autouse=True)
def _berlin(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"


def expected_bucket(key: str, case: Case) -> int | None:
    attributes = {name: decoded(value) for name, value in case["attributes"].items()}
    return bucket_of(flag_of(case, key), case.get("user", "2"), attributes)


def assert_results(key: str, case: Case, held: Snapshot) -> None:
    """Fails if a function or the snapshot returns another result than the case."""
    context, users = context_of(case), users_of(case)
    # In direct mode these query, so each is called for one user.
    assert flag_enabled(key, users[0], context=context) is case["value"]
    assert_explained(key, case, explain(key, users[-1], context=context))
    for user in users:
        assert held.flag_enabled(key, user, context=context) is case["value"]
        assert held.all_flags(user, context=context)[key] is case["value"]
        explained = held.explain(key, user, context=context)
        assert_explained(key, case, explanation_of(Explanation, key, explained))


def assert_explained(key: str, case: Case, explained: Explanation) -> None:
    result = (
        explained.value,
        explained.reason,
        explained.error_code,
        explained.bucket,
        explained.rule,
    )
    assert result == (case["value"], case["reason"], None, expected_bucket(key, case), case["rule"])
    reached = [step.decides for step in explained.steps if step.met is not None and not step.level]
    assert reached == [False] * (len(reached) - 1) + [True]
    assert not needs_user(case) or {*outcomes_of(explained)} <= {"passed", "needs_user"}


def assert_all_results(cases: list[Case], load: Load, subtests: pytest.Subtests) -> None:
    for group in groups(cases):
        clear()
        store(flag_of(case, key) for key, case in group)
        load()
        held = snapshot()
        for key, case in group:
            with subtests.test(case["name"]):
                assert_results(key, case, held)
                # In direct mode, each snapshot would read the tables.
                if load is refresh:
                    assert_results_of_its_context(key, case)


def assert_results_of_its_context(key: str, case: Case) -> None:
    """Fails if a snapshot that has the context returns another result than the case."""
    user, *_ = users_of(case)
    held = snapshot(context=context_of(case))
    assert held.flag_enabled(key, user) is case["value"]
    assert held.explain(key, user)["rule"] == case["rule"]
    assert held.all_flags(user) == all_flags(user, context=context_of(case))


def test_functions_return_the_expected_results(
    load: Load, settings: Any, subtests: pytest.Subtests
) -> None:
    assert_all_results(cases(of_user_objects=False), load, subtests)
    settings.FLAGSTAFF = {
        **settings.FLAGSTAFF,
        "ATTRIBUTES": ATTRIBUTES,
    }
    assert_all_results(cases(of_user_objects=True), load, subtests)


def test_expected_buckets_match_python() -> None:
    for case in CASES:
        if case["bucket"] is not None:
            assert case["bucket"] == expected_bucket("new_checkout", case)
