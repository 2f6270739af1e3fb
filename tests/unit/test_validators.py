from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from flagstaff import _core
from flagstaff.validators import (
    validate_bucket_by,
    validate_conditions,
    validate_flag_key,
    validate_rules,
    validate_tags,
)
from tests.support.conditions import condition, rule

HINT = 'use letters, digits, "_", "-" or ".", such as "new_checkout"'


def messages_of(validate: Callable[[Any], None], value: object) -> list[str]:
    with pytest.raises(ValidationError) as error:
        validate(value)
    return error.value.messages


KEYS = ["a", "new_checkout", "new-checkout", "shop.cart", "été", "割引", ".a", "x" * 255]
UNITS = ["user", "visitor", "organization", "größe", "a b", "x" * 100]
TAGS = [[], ["checkout"], ["a b", "größe", "x" * 50], [str(n) for n in range(20)]]


@pytest.mark.parametrize(
    ("validate", "values"),
    [(validate_flag_key, KEYS), (validate_bucket_by, UNITS), (validate_tags, TAGS)],
)
def test_valid_value_is_accepted(validate: Callable[[Any], None], values: list[Any]) -> None:
    for value in values:
        validate(value)


OPTION = (
    'the key begins with "-", as options of a command do; begin it with a letter or a digit, '
    'such as "new_checkout"'
)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", 'the key is empty; use 1 to 255 characters, such as "new_checkout"'),
        (
            "x" * 256,
            "the key has 256 characters; use at most 255, and put more into the description",
        ),
        ("new checkout", f"the key has white space at position 4; {HINT}"),
        ("new\u00a0checkout", f"the key has white space at position 4; {HINT}"),
        ("new\n", f"the key has white space at position 4; {HINT}"),
        ("new:checkout", f'the key has a ":" at position 4; {HINT}'),
        ("\x00new", f"the key has a control character at position 1; {HINT}"),
        *((key, OPTION) for key in ("--help", "-rf", "-")),
        ("<b>x</b>", f'the key has the character "<" at position 1; {HINT}'),
        ("a/b?c#d", f'the key has the character "/" at position 2; {HINT}'),
        ("🚩flag", f'the key has the character "🚩" at position 1; {HINT}'),
        ("a\u200bb", f"the key has an invisible character at position 2; {HINT}"),
        ("new\x7f", f"the key has a control character at position 4; {HINT}"),
    ],
)
def test_invalid_key_is_rejected_with_the_reason(key: str, message: str) -> None:
    assert messages_of(validate_flag_key, key) == [message]


USABLE = 'use "user", "visitor", or the name of an attribute, such as "organization"'
NO_TEXT = f"the bucketing unit is not a text; {USABLE}"
WHITE_SPACE = "the bucketing unit starts or ends with white space; remove it"
UNSTORABLE = f"the bucketing unit contains a character that PostgreSQL cannot store; {USABLE}"
USER_ATTRIBUTES = ("is_authenticated", "is_staff", "is_superuser", "groups")
BUILT_IN = f"cannot be the bucketing unit, because it is built in; {USABLE}"


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("", f"the bucketing unit is empty; {USABLE}"),
        *((unit, NO_TEXT) for unit in (5, None)),
        (
            "x" * 101,
            (
                "the bucketing unit has 101 characters; use at most 100, and pass the attribute "
                "under a shorter name"
            ),
        ),
        *((unit, WHITE_SPACE) for unit in (" user", "plan\n")),
        *((unit, UNSTORABLE) for unit in ("\ud800", "a\0b")),
        *((name, f'"{name}" {BUILT_IN}') for name in USER_ATTRIBUTES),
    ],
)
def test_invalid_bucketing_unit_is_rejected_with_the_reason(unit: Any, message: str) -> None:
    assert messages_of(validate_bucket_by, unit) == [message]


# Rules and conditions: tests/core/rule_errors.rs has the other problems.


def problem_of(rules: object) -> str:
    [message] = messages_of(validate_rules, rules)
    return message


def test_numbers_of_the_extension_are_those_of_stored_rows() -> None:
    assert (_core.RULE_FORMAT, _core.BUCKETS, _core.MAX_UNIT_BYTES) == (3, 10_000, 255)
    assert (_core.REGISTERS, _core.MAX_VARIANTS) == (4096, 100)


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [
            rule(
                condition("plan", "in", "paid"),
                {"segment": "enterprise", "negate": True},
                name="beta",
            )
        ],
        [rule(condition("plan", "in", True, 1, 0.5, "é", 10**999), rollout_percent=0)],
        (rule(condition("plan", "in", "paid")),),
        [rule({"attribute": "email", "operator": "regex", "values": ["@example[.]com$"]})],
    ],
    ids=["none", "two conditions", "types", "tuple", "pattern"],
)
def test_valid_rules_are_accepted(rules: object) -> None:
    validate_rules(rules)


def test_problem_of_rules_has_the_rule_and_the_condition() -> None:
    wrong = {"attribute": "email", "operator": "regex", "values": ["a", "("]}
    rules = [
        rule(condition("plan", "in", 1)),
        rule(condition("plan", "in", 2), wrong, name="100 % of DACH"),
    ]
    assert problem_of(rules).startswith(
        'rule 2 ("100 % of DACH"), condition 2, value 2: the pattern is not valid: '
    )


def test_conditions_of_a_segment_are_not_empty_and_name_no_segment() -> None:
    validate_conditions([condition("plan", "in", "paid")])
    with pytest.raises(ValidationError, match="which would include everyone"):
        validate_conditions([])
    with pytest.raises(ValidationError) as error:
        validate_conditions([condition("plan", "in", "paid"), {"segment": "enterprise"}])
    assert error.value.messages == [
        "condition 2: a segment cannot name a segment; add the conditions of that segment here"
    ]


NOT_JSON = (
    "this is not JSON: it has NaN, an infinity, a number of more than 4,300 digits, or a list "
    "that contains itself; remove it"
)


def test_value_that_json_cannot_hold_and_deep_rules_are_rejected() -> None:
    for value in (Decimal("1.5"), b"paid", {1}):
        assert problem_of([rule(condition("plan", "in", value))]) == (
            f"this is not JSON: Object of type {type(value).__name__} is not JSON serializable; "
            "use lists, objects, texts, numbers and bools only"
        )
    for number in (float("nan"), float("inf"), 10**5_000):
        assert problem_of([rule(condition("plan", "in", number))]) == NOT_JSON
    rules: list[Any] = []
    rules.append(rules)
    assert problem_of(rules) == NOT_JSON
    for _ in range(100_000):
        rules = [rules]
    assert problem_of(rules) == "this is nested too deeply; use at most 500 levels"


def test_text_of_at_most_256_kib_is_accepted() -> None:
    too_large = (
        "the JSON text has more than 256 KiB; use fewer rules, and groups or attributes instead of "
        "long lists of values"
    )
    # 130,000 letters of two bytes: escapes would have six.
    validate_rules([rule(condition("plan", "in", *["é" * 1_000] * 130))])
    assert problem_of([rule(condition("plan", "in", *["é" * 1_000] * 131))]) == too_large


NO_LIST = 'the tags are not a list; write a list of texts, such as ["checkout", "mobile"]'
NO_LISTS: tuple[Any, ...] = ("checkout", "", {}, None)
CONTROL = "tag 1 contains a control character; remove it"


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        *((tags, NO_LIST) for tags in NO_LISTS),
        (
            [str(n) for n in range(21)],
            "there are 21 tags; use at most 20, and put the others into the description",
        ),
        (["a", 5], "tag 2 is not a text; put it in double quotes"),
        (["a", ""], "tag 2 is empty; remove it"),
        (["x" * 51], "tag 1 has 51 characters; use at most 50, and put more into the description"),
        (["a,b"], 'the tag "a,b" contains a comma; write two tags'),
        ([" a"], 'the tag " a" starts or ends with white space; remove it'),
        *(([f"a{character}b"], CONTROL) for character in ("\0", "\n", "\ud800")),
        (["a", "b", "a"], 'the tag "a" is given twice; remove one'),
    ],
)
def test_invalid_tags_are_rejected_with_the_reason(tags: Any, message: str) -> None:
    assert messages_of(validate_tags, tags) == [message]
