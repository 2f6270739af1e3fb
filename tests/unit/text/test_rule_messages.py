"""The problems of the workers' parser of rules: texts of Rust, with all their values."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from flagstaff import _core
from flagstaff._text import Sentence, Value, localized, why_undecodable
from flagstaff.validators import condition_problem, rule_problem, value_rule_problem
from tests.support.marked_texts import marked, unmarked_in
from tests.support.translations import german

IN = {"attribute": "a1", "operator": "in", "values": [1]}


def conditions(**members: object) -> list[object]:
    return [{"conditions": [{**IN, **members}]}]


WRONG_RULES: tuple[object, ...] = (
    {},
    [1],
    [{}],
    [{"conditions": []}],
    [{"conditions": [IN]}] * 101,
    [{"conditions": [IN] * 300}],
    [{"name": 'a": b, "c', "conditions": [{}]}],
    [{"name": "", "conditions": [IN]}],
    [{"conditions": [IN], "rollout_percent": 101}],
    [{"conditions": [1]}],
    [{"conditions": [IN], "other": 1}],
    [{"conditions": "x" * 300_000}],
    [{"conditions": [{"attribute": "\ud800"}]}],
    conditions(operator="is"),
    conditions(operator=1),
    conditions(operator="contains", values=[True]),
    conditions(operator="lt", values=[None]),
    conditions(operator="version_lt", values=["x"]),
    conditions(operator="regex", values=["("]),
    conditions(operator="regex", values=[r"\w{1000}" * 9]),
    conditions(operator="regex", values=["x" * 501]),
    conditions(operator="regex", values=["x"] * 101),
    conditions(operator="isnull", values=[1]),
    conditions(operator="isnull", values=[True, False]),
    conditions(values=[]),
    conditions(values=[1] * 1001),
    conditions(values=[[None]]),
    conditions(values=["x" * 1001]),
    conditions(values=[10**1001]),
    conditions(values=[float("nan")]),
    conditions(values=[object()]),
    conditions(values=["\0"]),
    conditions(negate=1),
    conditions(segment="s1"),
    *(
        [{"conditions": [{"bucket": name, "operator": operator, "values": [bound]}]}]
        for name, operator, bound in (
            ("experiment:b1", "lt", 5),
            ("b1", "in", 5),
            ("b1", "lt", 101),
        )
    ),
)
WRONG_RULES_OF_VALUES: tuple[object, ...] = (
    [{"conditions": [IN]}],
    [{"conditions": [], "value": 1}],
    [{"conditions": [IN], "value": json.loads("[" * 501 + "]" * 501)}],
)
WRONG_CONDITIONS: tuple[object, ...] = ({}, [], [{"segment": "s1"}], [{**IN, "values": [None]}])
# Python writes no such JSON.
WRONG_TEXTS = (
    "[",
    '[{"name": "a", "name": "b"}]',
    '[{"conditions": [{"attribute": "a1", "operator": "in", "values": [1e9999999999999999999]}]}]',
)


WRONG: list[tuple[Callable[[Any], Sentence | None], object]] = [
    *((rule_problem, rules) for rules in WRONG_RULES),
    *((value_rule_problem, rules) for rules in WRONG_RULES_OF_VALUES),
    *((condition_problem, conditions) for conditions in WRONG_CONDITIONS),
]


@pytest.mark.parametrize(("problem_of", "wrong"), WRONG)
def test_problem_is_translated(problem_of: Callable[[Any], Sentence | None], wrong: object) -> None:
    problem = problem_of(wrong)
    assert problem is not None
    with marked():
        shown = unmarked_in(localized(problem).replace("regex parse error", ""))
    is_of_library = "pattern is not valid" in problem or "JSON serializable" in problem
    assert not shown or is_of_library, problem


def test_every_text_of_rust_gets_all_its_values() -> None:
    problems = [problem_of(wrong) for problem_of, wrong in WRONG]
    problems += map(_core.check_rules, WRONG_TEXTS)
    seen = {english for problem in problems if problem for english in english_in(problem)}
    undecodable = filter(None, map(why_undecodable, ("9" * 5000, "[" * 501)))
    seen |= {problem.english for problem in undecodable}
    # Those of rules come first, then those of columns, rows and the server.
    texts = _core.texts()
    assert {*texts[: texts.index("its {column} is NULL")]} <= seen


def english_in(value: Value) -> set[str]:
    if not isinstance(value, Sentence):
        return set()
    return {value.english}.union(*map(english_in, value.values.values()))


def test_place_and_kinds_are_translated() -> None:
    texts = {
        "rule {number} ({name})": "Regel {number} ({name})",
        "condition {number}": "Bedingung {number}",
        "{what} must be {expected}, not {kind}": "{what}: {expected} statt {kind}",
        "a list": "eine Liste",
        "a number": "eine Zahl",
    }
    rules = [{"conditions": [IN]}, {"name": "a: b", "conditions": [{**IN, "values": 1}]}]
    problem = rule_problem(rules)
    assert problem == 'rule 2 ("a: b"), condition 1: "values" must be a list, not a number'
    with german(texts):
        assert localized(problem) == (
            'Regel 2 ("a: b"), Bedingung 1: "values": eine Liste statt eine Zahl'
        )


def test_counts_are_grouped_as_in_rust() -> None:
    assert rule_problem(conditions(values=[1] * 1001)) == (
        "rule 1, condition 1: 1,001 values are too many; use at most 1,000, or test a group or a "
        "column that ATTRIBUTES names, or use allowed users"
    )
