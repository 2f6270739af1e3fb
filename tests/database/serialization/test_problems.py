"""Problems of a file: all are reported at once, with their place, and without secrets."""

from __future__ import annotations

import pytest

from flagstaff import serialization
from flagstaff.exceptions import DocumentError
from tests.support.documents import database_state, import_problems

pytestmark = pytest.mark.django_db

WRONG = """\
flagstaff: 1
flogs: {}
flags:
  a:
    color: red
  b:
    enabled: "true"
    rollout_percent: true
    kind: holiday
    allowed_users: [carol, dave, 77, ""]
  c d:
    rollout_percent: 101
  new_checkout:
    rollout_percent: 101
    version: old
  search_v2: true
values:
  fresh: {description: nothing else}
  page_size: {value: 3, secret: 1}
"""
PROBLEMS = """\
flags.a.color: a flag has no such field
flags.b.allowed_users: no user has the username 'carol', 'dave' or the primary key 77; \
pass --skip-unknown to skip them
flags.b.allowed_users[3]: must be a username, or a primary key such as {"pk": 42}
flags.b.enabled: must be true or false, not a string
flags.b.kind: Value 'holiday' is not a valid choice.
flags.b.rollout_percent: must be an integer, not a boolean
flags.c d: the key has white space at position 2; use letters, digits, "_", "-" or ".", \
such as "new_checkout"
flags.c d.rollout_percent: Ensure this value is less than or equal to 100.
flags.new_checkout.rollout_percent: Ensure this value is less than or equal to 100.
flags.new_checkout.version: must be an integer, as `export --versions` writes it
flags.search_v2: must be a mapping of fields to values
flogs: is not part of this format
values.fresh.value: is required for a new value
values.page_size.secret: must be true or false, not a number
""".splitlines()


def test_all_problems_are_reported_at_once_with_their_place(cli_shop: None) -> None:
    assert import_problems(WRONG) == PROBLEMS


def test_file_without_the_header_or_with_a_newer_version_is_rejected() -> None:
    assert import_problems("{}") == [
        'not an export of flagstaff: "flagstaff: 1" is missing at the top level'
    ]
    assert import_problems("flagstaff: 2\nflags: {}") == [
        "the file has format version 2, but this flagstaff reads only version 1"
    ]


OTHER_TOOLS = {
    "flagd": '{"flags": {"a": {"state": "ENABLED", "variants": {"on": true}, "x": "hunter2"}}}',
    "LaunchDarkly": '{"flags": {"a": {"on": true, "variations": [true], "fallthrough": {}}}}',
    "LaunchDarkly ": '{"items": [{"key": "a", "kind": "boolean", "variations": [{"value": 1}]}]}',
    "GrowthBook": '{"status": 200, "features": {"a": {"defaultValue": true, "rules": []}}}',
    "Flipper": '{"version": 1, "features": {"a": {"boolean": null, "percentage_of_actors": 25}}}',
    "Unleash": '{"version": 1, "features": [{"name": "a", "strategies": []}]}',
    "django-waffle": """[{"model": "auth.user", "pk": 1, "fields": {"username": "alice"}},
        {"model": "waffle.flag", "pk": 1, "fields": {"name": "a", "everyone": null}}]""",
}


@pytest.mark.parametrize(("tool", "text"), OTHER_TOOLS.items(), ids=OTHER_TOOLS)
def test_file_of_another_tool_is_rejected_with_the_page_that_helps(tool: str, text: str) -> None:
    page = "From django-waffle" if tool == "django-waffle" else "Files of other tools"
    [problem] = import_problems(text)
    assert problem.startswith(f"this is a file of {tool.strip()}, which has another format; ")
    assert f'see "{page}" in the documentation' in problem


@pytest.mark.parametrize(
    "text",
    [
        '{"flags": {"a": {"enabled": true}}, "features": 3, "items": null}',
        '[1, {"model": {}}, {"model": "auth.user", "fields": {"everyone": true}}]',
        "[]",
        '"flags"',
    ],
)
def test_file_of_no_known_tool_is_rejected_without_a_name(text: str) -> None:
    assert import_problems(text) == [
        'not an export of flagstaff: "flagstaff: 1" is missing at the top level'
    ]


VALUE = '{"flagstaff": 1, "values": {"a": {"value": %s}}}'
SECRET = '{"flagstaff": 1, "values": {"pin": {"secret": true, "value": %s}}}'
FLAGS = '{"flagstaff": 1, "flags": {%s}}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: invalid JSON: "),
        ('{"flagstaff": 1,\n "flags": {]}', "line 2: invalid JSON: "),
        ("[" * 100_000, "the file is nested deeper than 100 levels"),
        (VALUE % f"{'[' * 99}{']' * 99}", "values.a: is nested deeper than 100 levels"),
        ('{"flagstaff": 1, "flags": {}, "flags": {}}', "flags: is a duplicate key"),
        (VALUE % "[1, NaN]", "values.a.value[1]: is not a valid JSON number"),
        (VALUE % "1e999", "values.a.value: is not a valid JSON number"),
        (VALUE % ("9" * 5000), "the file has a number with too many digits; write it as a text"),
        (VALUE % r'"\ud800"', "values.a.value: contains a NUL character or half of a"),
        (FLAGS % r'"a\u0000": {}', r"flags.'a\x00': contains a NUL character or half of a"),
        (FLAGS % '"a": {}, "a": {}', "flags.a: is a duplicate key"),
        ("#" * (16 * 2**20 + 1), "the file is larger than 16,777,216 bytes; import it in"),
    ],
    ids=range(12),
)
def test_invalid_text_is_rejected(text: str, problem: str) -> None:
    before = database_state()
    with pytest.raises(DocumentError) as caught:
        serialization.apply(serialization.read(text))
    assert database_state() == before
    assert str(caught.value.problems[0]).startswith(problem)


@pytest.mark.parametrize("value", ['"0123\\u0000"', '{"a": NaN, "a": "0123"}', "01234", "null"])
def test_problem_of_a_secret_value_does_not_contain_it(cli_shop: None, value: str) -> None:
    problems = import_problems(SECRET % value)
    assert problems
    assert "0123" not in "".join(problems)


@pytest.mark.parametrize("key", ["new_checkout", "brand_new"])
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("tags: checkout", "the tags are not a list"),
        ("tags: ['a,b']", 'the tag "a,b" contains a comma; write two tags'),
        ("tags: null", ""),
        ("owner: 5", "must be a string, not a number"),
        ("owner: null", "must not be null"),
        ("review_on: '1.3.2027'", "“1.3.2027” value has an invalid date format"),
        ("review_on: 20270301", "must be a string, not a number"),
    ],
)
def test_unusable_owner_tags_or_review_date_is_a_problem(
    cli_shop: None, key: str, line: str, problem: str
) -> None:
    [found] = import_problems(f"flagstaff: 1\nflags: {{{key}: {{{line}}}}}")
    name = line.partition(":")[0]
    assert f"flags.{key}.{name}" in found
    assert problem in found
