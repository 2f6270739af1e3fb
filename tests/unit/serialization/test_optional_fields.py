"""Optional fields of a file, in a project whose flag model has no columns for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flagstaff.conf import Conf
from flagstaff.serialization import Document, read
from tests.support.models_of_others import flag_fields, model_of


@pytest.fixture(autouse=True)
def model_without_the_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "flag_model", model_of("Switch", flag_fields()))


def document(rules: Any) -> Document:
    return document_of({"rules": rules})


def document_of(fields: dict[str, Any]) -> Document:
    return read(json.dumps({"flagstaff": 1, "flags": {"a": fields}}), "json")


def test_rules_of_a_file_are_a_problem_without_the_column() -> None:
    [problem] = document([{"conditions": [{"segment": "enterprise"}]}]).problems.found
    assert problem.path == ("flags", "a", "rules")
    assert problem.text == (
        "the flag model of this project has no column for rules; add the field, or remove the "
        "rules from the file"
    )


def test_flag_without_rules_is_imported_without_the_column() -> None:
    found = document([])
    assert not found.problems.found
    assert dict(found.items[0].fields) == {}


@pytest.mark.parametrize(
    ("name", "value", "things"),
    [
        ("owner", "payments", "owners"),
        ("tags", ["q3"], "tags"),
        ("review_on", "2027-03-01", "review dates"),
    ],
)
def test_owner_tags_and_review_date_are_a_problem_without_the_columns(
    name: str, value: object, things: str
) -> None:
    [problem] = document_of({name: value}).problems.found
    assert problem.path == ("flags", "a", name)
    assert problem.text == (
        f"the flag model of this project has no column for {things}; add the field, or remove "
        f"{name} from the file"
    )


def test_flag_without_an_owner_is_imported_without_the_columns() -> None:
    found = document_of({"owner": "", "tags": [], "review_on": None})
    assert not found.problems.found
    assert dict(found.items[0].fields) == {}
