"""Exports and imports of the owner, the tags and the review date of flags."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from flagstaff.models import FeatureFlag
from tests.support.documents import (
    BOTH_FORMATS,
    Format,
    diff_text,
    export_text,
    import_problems,
    import_text,
    summaries,
)

pytestmark = pytest.mark.django_db

OWNED: dict[str, Any] = {
    "owner": "payments",
    "tags": ["checkout", "on"],
    "review_on": date(2027, 3, 1),
}


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="a", **OWNED)


def stored() -> dict[str, Any]:
    return dict(FeatureFlag.objects.values(*OWNED).get())


def with_line(line: str) -> str:
    return f"flagstaff: 1\nflags:\n  a:\n    {line}\n"


def test_export_has_the_three_fields(flag: FeatureFlag) -> None:
    assert (
        "    owner: payments\n"
        "    tags:\n"
        "      - checkout\n"
        '      - "on"\n'
        "    review_on: '2027-03-01'\n"
    ) in export_text()


@BOTH_FORMATS
def test_import_restores_the_three_fields(flag: FeatureFlag, format_: Format) -> None:
    text = export_text(format_)
    assert not diff_text(text, format_).steps
    FeatureFlag.objects.update(owner="", tags=[], review_on=None)
    import_text(text, format_)
    assert stored() == OWNED
    FeatureFlag.objects.all().delete()
    import_text(text, format_)
    assert stored() == OWNED


def test_file_of_an_older_version_keeps_the_three_fields(flag: FeatureFlag) -> None:
    import_text(with_line("enabled: true"))
    assert stored() == OWNED


def test_import_that_clears_the_three_fields_is_summarized(flag: FeatureFlag) -> None:
    text = with_line("owner: ''\n    tags: []\n    review_on: null")
    assert summaries(diff_text(text)) == {
        "a": 'owner "payments" → "", tags ["checkout", "on"] → [], review_on "2027-03-01" → null'
    }
    import_text(text)
    assert stored() == {"owner": "", "tags": [], "review_on": None}


@pytest.mark.parametrize("key", ["a", "b"])
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
def test_unusable_field_of_a_file_is_a_problem(
    flag: FeatureFlag, key: str, line: str, problem: str
) -> None:
    [found] = import_problems(with_line(line).replace("  a:", f"  {key}:"))
    name = line.partition(":")[0]
    assert f"flags.{key}.{name}" in found
    assert problem in found
