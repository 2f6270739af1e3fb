"""The settings ENVIRONMENT, REQUIRE_REASON and READ_ONLY."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from django.test import override_settings

from flagstaff.conf import conf
from flagstaff.conf.environment import Environment

COLORS = ("grey", "green", "blue", "purple", "orange", "red")


def with_settings(**settings: object) -> override_settings:
    return override_settings(FLAGSTAFF=settings)


def problem_texts(environment: object) -> list[str]:
    with with_settings(ENVIRONMENT=environment):
        return [str(one) for one in conf.problems()]


def test_settings_have_defaults() -> None:
    with with_settings():
        assert conf.problems() == []
        assert (conf.environment, conf.is_production) == (None, False)
        assert (conf.require_reason, conf.read_only) == (False, False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"name": "Staging"}, Environment("Staging", "grey", production=False)),
        (
            {"name": "Production", "color": "red", "production": True},
            Environment("Production", "red", production=True),
        ),
        ({"name": "Übung 2", "color": "green"}, Environment("Übung 2", "green")),
        (MappingProxyType({"name": "x" * 40}), Environment("x" * 40)),
    ],
)
def test_environment_is_read(given: Any, expected: Environment) -> None:
    assert problem_texts(given) == []
    with with_settings(ENVIRONMENT=given):
        assert conf.environment == expected
        assert conf.is_production is expected.production


@pytest.mark.parametrize("color", COLORS)
def test_each_color_is_valid(color: str) -> None:
    assert problem_texts({"name": "Staging", "color": color}) == []


@pytest.mark.parametrize("production", [None, {"name": "Staging"}])
def test_deployment_without_the_entry_is_not_production(production: object) -> None:
    with with_settings(ENVIRONMENT=production):
        assert conf.is_production is False


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("Production", " is 'Production'"),
        (["Production"], " is ['Production']"),
        (True, " is True"),
        ({}, '["name"] is None'),
        ({"name": ""}, "[\"name\"] is ''"),
        ({"name": "  "}, "[\"name\"] is '  '"),
        ({"name": 1}, '["name"] is 1'),
        ({"name": "x" * 41}, f"[\"name\"] is '{'x' * 41}'"),
        ({"name": "a\nb"}, "[\"name\"] is 'a\\nb'"),
        ({"name": "a", "color": "#ff0000"}, "[\"color\"] is '#ff0000'"),
        ({"name": "a", "color": None}, '["color"] is None'),
        ({"name": "a", "color": ["red"]}, "[\"color\"] is ['red']"),
        ({"name": "a", "production": 1}, '["production"] is 1'),
        ({"name": "a", "production": "yes"}, "[\"production\"] is 'yes'"),
        ({"name": "a", "colour": "red"}, " has no entry 'colour'"),
        ({"name": "a", 1: "red"}, " has no entry 1"),
    ],
    ids=str,
)
def test_invalid_environment_is_a_problem(given: object, problem: str) -> None:
    [text] = problem_texts(given)
    assert f'FLAGSTAFF["ENVIRONMENT"]{problem}; ' in text
    assert '{"name": "Production", "color": "red", "production": True}' in text
    assert text.endswith(", ".join(COLORS))


@pytest.mark.parametrize("name", ["REQUIRE_REASON", "READ_ONLY"])
@pytest.mark.parametrize("value", [1, "yes", None])
def test_switch_that_is_not_a_boolean_is_a_problem(name: str, value: object) -> None:
    with with_settings(**{name: value}):
        [problem] = conf.problems()
    assert name in problem.message


@pytest.mark.parametrize("value", [True, False])
def test_switches_are_read(value: bool) -> None:
    with with_settings(REQUIRE_REASON=value, READ_ONLY=value):
        assert conf.problems() == []
        assert (conf.require_reason, conf.read_only) == (value, value)
