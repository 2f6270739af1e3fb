"""The rules of a file, in a project whose flag model has no column for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flagstaff.conf import Conf
from flagstaff.serialization import Document, read
from tests.models_of_others import flag_fields, model_of


@pytest.fixture(autouse=True)
def model_without_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "flag_model", model_of("Switch", flag_fields()))


def document(rules: Any) -> Document:
    return read(json.dumps({"flagstaff": 1, "flags": {"a": {"rules": rules}}}), "json")


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
