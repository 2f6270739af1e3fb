"""Problems of a file: all are reported at once, with line and field, and without secrets."""

from __future__ import annotations

import sys

import pytest

from flagstaff.exceptions import FlagstaffError
from tests.support.documents import SHOP, Format, export_text, import_problems, import_text

pytestmark = pytest.mark.django_db

WRONG = """\
flagstaff: 1
flogs: {}
flags:
  a:
    enabled: on
    rollout_percent: 2026-11-20
    color: red
  b:
    enabled: "true"
    rollout_percent: true
    kind: holiday
    allowed_users: [carol, dave, 77, ""]
  a:
    enabled: true
  on:
    enabled: true
  c d:
    rollout_percent: 101
  new_checkout: &here
    rollout_percent: 101
    version: old
  dark_mode: *here
  search_v2: true
values:
  fresh: {description: nothing else}
  page_size: {value: .nan, secret: 1}
  pi: {value: !!float "3"}
"""


AMBIGUOUS = (
    "{0} without quotes is ambiguous in YAML; "
    "put a string in quotes, or write true, false, or a plain decimal number"
)
PROBLEMS = f"""\
line 2: flogs: is not part of this format
line 5: flags.a.enabled: {AMBIGUOUS.format("on")}
line 6: flags.a.rollout_percent: {AMBIGUOUS.format("2026-11-20")}
line 7: flags.a.color: a flag has no such field
line 9: flags.b.enabled: must be true or false, not a string
line 10: flags.b.rollout_percent: must be an integer, not a boolean
line 11: flags.b.kind: Value 'holiday' is not a valid choice.
line 12: flags.b.allowed_users: no user has the username 'carol', 'dave' or the primary key 77; \
pass --skip-unknown to skip them
line 12: flags.b.allowed_users[3]: must be a username, or a primary key such as {{pk: 42}}
line 13: flags.a: is a duplicate key
line 15: flags: {AMBIGUOUS.format("on")}
line 17: flags.c d: the key has white space at position 2; use letters, digits, "_", "-" or ".", \
such as "new_checkout"
line 18: flags.c d.rollout_percent: Ensure this value is less than or equal to 100.
line 20: flags.new_checkout.rollout_percent: Ensure this value is less than or equal to 100.
line 21: flags.new_checkout.version: must be an integer, as `export --versions` writes it
line 22: flags.dark_mode: is an alias; aliases are not supported, write the content
line 23: flags.search_v2: must be a mapping of fields to values
line 25: values.fresh.value: is required for a new value
line 26: values.page_size.secret: must be true or false, not a number
line 26: values.page_size.value: {AMBIGUOUS.format("this text")}
line 27: values.pi.value: has the tag tag:yaml.org,2002:float; tags are not supported
""".splitlines()


def test_all_problems_are_reported_at_once_with_their_place(cli_shop: None) -> None:
    assert import_problems(WRONG) == PROBLEMS


def test_file_without_the_header_or_with_a_newer_version_is_rejected() -> None:
    assert import_problems("") == [
        'not an export of flagstaff: "flagstaff: 1" is missing at the top level'
    ]
    assert import_problems("flagstaff: 2\nflags: {}") == [
        "the file has format version 2, but this flagstaff reads only version 1"
    ]


VALUE = '{"flagstaff": 1, "values": {"a": {"value": %s}}}'
FLAGS = '{"flagstaff": 1, "flags": {%s}}'


@pytest.mark.parametrize(
    ("text", "format_", "problem"),
    [
        ("flagstaff: 1\nflags: {a: [", "yaml", "line "),
        ("a: \x07", "yaml", "invalid YAML: it has control characters"),
        ("[" * 300, "yaml", "line 1: is nested deeper than 100 levels"),
        ("flagstaff: 1\n---\nflagstaff: 1", "yaml", "line 2: a second document starts here"),
        ('{"flagstaff": 1,\n "flags": {]}', "json", "line 2: invalid JSON: "),
        ("[" * 100_000, "json", "the file is nested deeper than 100 levels"),
        ('{"flagstaff": 1, "flags": {}, "flags": {}}', "json", "flags: is a duplicate key"),
        (VALUE % "[1, NaN]", "json", "values.a.value[1]: is not a valid JSON number"),
        (VALUE % "1e999", "json", "values.a.value: is not a valid JSON number"),
        (VALUE % ("9" * 5000), "json", "the file has a number with too many digits"),
        (VALUE % r'"\ud800"', "json", "values.a.value: contains a NUL character or half of a"),
        (FLAGS % r'"a\u0000": {}', "json", r"flags.'a\x00': contains a NUL character or half of a"),
        (FLAGS % '"a": {}, "a": {}', "json", "flags.a: is a duplicate key"),
        ("#" * (16 * 2**20 + 1), "json", "the file is larger than 16,777,216 bytes; import it in"),
        ("{" * 900, "yaml", "line 1: is nested deeper than 100 levels"),
        ("? " * 900, "yaml", "line 1: is nested deeper than 100 levels"),
    ],
    ids=range(16),
)
def test_invalid_text_is_rejected(text: str, format_: Format, problem: str) -> None:
    assert import_problems(text, format_)[0].startswith(problem)


@pytest.mark.parametrize(
    "value", ["0123", "{0123: 1}", "{1: 0123}", "[0123]", "!!x 0123", "*s0123"]
)
def test_problem_of_a_secret_value_does_not_contain_it(cli_shop: None, value: str) -> None:
    problems = import_problems(f"flagstaff: 1\nvalues: {{pin: {{secret: true, value: {value}}}}}")
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
        ("review_on: 2027-03-01", "2027-03-01"),
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


BOMB = "\n".join(
    [
        "flagstaff: 1",
        "flags: &a0 {}",
        *(f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)),
    ]
)


@pytest.mark.timeout(3)
def test_nested_aliases_are_rejected_without_expansion() -> None:
    problem = "line 3: x1[0]: is an alias; aliases are not supported, write the content"
    assert problem in import_problems(BOMB)


def test_yaml_without_libyaml_has_the_same_problems(
    cli_shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("yaml.CSafeLoader", raising=False)
    assert import_problems(WRONG) == PROBLEMS
    assert import_text(export_text()).plan.steps == ()


def test_yaml_without_pyyaml_names_the_extra(
    cli_shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "flagstaff.serialization.yaml_format", raising=False)
    monkeypatch.delattr("flagstaff.serialization.yaml_format", raising=False)
    for attempt in (export_text, lambda: import_text(SHOP)):
        with pytest.raises(FlagstaffError, match=r'pip install "django-flagstaff\[yaml\]"'):
            attempt()
    assert import_text(export_text("json"), "json").plan.steps == ()
