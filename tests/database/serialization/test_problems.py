"""Problems of a file: all are reported at once, with their place, and without secrets."""

import pytest

from flagstaff import serialization
from flagstaff.exceptions import DocumentError
from tests.support.documents import database_state, import_problems

pytestmark = pytest.mark.usefixtures("open_shop")

# Rows of the shop and new ones, with their first problem each.
WRONG = """\
flagstaff: 1
flogs: {}
segments:
  enterprise: {conditions: []}
  large: {}
  small: {conditions: [{attribute: seats, operator: below, values: [5]}]}
flags:
  a: {color: red}
  c d: {rollout_percent: 100}
  d: {allowed_users: [carol, dave, 77]}
  dark_mode: {rules: null}
  e: {allowed_users: [alice, ""]}
  h: {review_on: 20270301}
  i: {rules: [{name: beta, conditions: [{attribute: plan}]}]}
  new_checkout: {rollout_percent: 10, version: old}
  search_v2: true
  summer_banner: {review_on: 1.3.2027}
values:
  fresh: {description: nothing else}
  k: {value: 10, rules: [{conditions: [{segment: enterprise}]}]}
  l: {value: 10, type: integer, rules: [{conditions: [{segment: enterprise}], value: "5"}]}
  page_size: {value: 3, secret: maybe}
"""
PROBLEMS = (
    "flags.a: a flag has no field 'color'",
    'flags.c d: key: the key has white space at position 2; use letters, digits, "_", "-" or ',
    "flags.d: allowed_users: not exactly one user is 'carol', 'dave', 77; pass --skip-unknown",
    "flags.dark_mode: rules: the rules must be a list, not null",
    "flags.e: allowed_users: must be a list of usernames, or of primary keys such as",
    "flags.h: review_on: the value has a wrong type",
    'flags.i: rules: rule 1 ("beta"), condition 1: the member "operator" is missing',
    "flags.new_checkout: the version must be an integer, as `export --versions` writes it",
    "flags.search_v2: must be a mapping",
    "flags.summer_banner: review_on: “1.3.2027” value has an invalid date format",
    "flogs: is not part of this format",
    "segments.enterprise: conditions: there are no conditions, which would include",
    "segments.large: conditions: the conditions must be a list, not null",
    'segments.small: conditions: condition 1: the operator "below" is not known',
    "values.fresh: value: the value is missing or null",
    "values.k: rules: rule 1",
    "values.l: rules: rule 1: the",
    "values.page_size: secret: “maybe” value must be either True or False.",
)


def test_problems_of_all_rows_are_reported_at_once_with_their_place() -> None:
    for problem, start in zip(import_problems(WRONG), PROBLEMS, strict=True):
        assert problem.startswith(start)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"flagstaff": true, "flags": {}}',
        '{"flags": {"a": {"state": "ENABLED", "variants": {"on": true}}}}',
        '[{"model": "waffle.flag", "pk": 1, "fields": {"name": "a"}}]',
        '"flags"',
    ],
)
def test_file_without_the_header_is_rejected_with_the_page_about_other_tools(text: str) -> None:
    [problem] = import_problems(text)
    assert problem.startswith('not an export of flagstaff: "flagstaff": 1 is missing')
    assert '"Files of other tools"' in problem


def test_file_of_a_newer_format_is_rejected() -> None:
    assert import_problems('{"flagstaff": 2, "flags": {}}') == [
        "the file has format version 2, but this flagstaff reads only version 1"
    ]


VALUE = '{"flagstaff": 1, "values": {"a": {"value": %s}}}'
SECRET = '{"flagstaff": 1, "values": {"pin": {"secret": true, "value": %s}}}'
FLAGS = '{"flagstaff": 1, "flags": {%s}}'
RULES = '[{"conditions": [{"attribute": "age", "operator": "gt", "values": [%s]}]}]'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "invalid JSON: Expecting value: line 1 column 1"),
        ('{"flagstaff": 1,\n "flags": {]}', "invalid JSON: Expecting property name enclosed in"),
        ("[" * 100_000, "the file is nested too deeply"),
        (
            VALUE % f"{'[' * 600}{']' * 600}",
            "values.a: value: get_value() cannot return this value",
        ),
        (
            '{"flagstaff": 1, "flags": {}, "flags": {}}',
            'invalid JSON: an object has the name "flags" twice',
        ),
        (VALUE % "[1, NaN]", "values.a: value: this is not JSON: it has NaN"),
        (
            FLAGS % '"a": {"rollout_percent": 1e999}',
            "flags.a: rollout_percent: “inf” value must be an integer",
        ),
        (FLAGS % ('"a": {"rules": %s}' % (RULES % "NaN")), "flags.a: rules: "),
        (VALUE % ("9" * 5000), "invalid JSON: Exceeds the limit"),
        (VALUE % r'"\ud800"', "values.a: "),
        (FLAGS % r'"a\u0000": {}', r"flags.'a\x00': "),
        (FLAGS % r'"a": {"description": "\ud800"}', "flags.a: description: contains a NUL"),
        (FLAGS % '"a": {}, "a": {}', 'invalid JSON: an object has the name "a" twice'),
        ('{"flagstaff": 1, "flags": []}', "flags: must be a mapping"),
        ("#" * (16 * 2**20 + 1), "the file is larger than 16,777,216 bytes; import it in"),
    ],
    ids=range(15),
)
def test_invalid_text_is_rejected(text: str, problem: str) -> None:
    before = database_state()
    with pytest.raises(DocumentError) as caught:
        serialization.apply(serialization.read(text))
    assert database_state() == before
    assert str(caught.value.problems[0]).startswith(problem)


@pytest.mark.parametrize("value", ['"0123\\u0000"', '{"a": NaN, "a": "0123"}', "01234", "null"])
def test_problem_of_a_secret_value_does_not_contain_it(value: str) -> None:
    problems = import_problems(SECRET % value)
    assert problems
    assert "0123" not in "".join(problems)
