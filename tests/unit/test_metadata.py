"""The metadata of the package says what CI tests: its oldest and its newest versions."""

from __future__ import annotations

import re
from importlib.metadata import metadata

import yaml

from tests.conftest import ROOT

METADATA = metadata("django-flagstaff")
CLASSIFIERS = METADATA.get_all("Classifier") or []


def classified(name: str) -> list[str]:
    """Returns the versions of Python or Django, in the order of the classifiers."""
    found = (re.fullmatch(rf"{name} :: (\d+\.\d+)", one) for one in CLASSIFIERS)
    return [match[1] for match in found if match]


def ends(versions: list[str]) -> tuple[str, str]:
    ordered = sorted(versions, key=lambda one: [int(part) for part in one.split(".")])
    return ordered[0], ordered[-1]


def test_python_versions_are_those_between_the_two_that_ci_tests() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    [tested] = {
        step["with"]["python-version"]
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if "python-version" in step.get("with", {})
    }
    oldest, newest = ends(tested.split())
    minors = range(int(oldest.split(".")[1]), int(newest.split(".")[1]) + 1)
    assert classified("Programming Language :: Python") == [f"3.{minor}" for minor in minors]
    assert METADATA["Requires-Python"] == f">={oldest}"


def test_django_versions_begin_and_end_with_those_of_the_matrix() -> None:
    pinned = re.findall(
        r"^django==(\d+\.\d+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE
    )
    oldest, newest = ends(pinned)
    assert ends(classified("Framework :: Django")) == (oldest, newest)
    required = [one for one in METADATA.get_all("Requires-Dist") or [] if "extra" not in one]
    assert [one.lower() for one in required] == [f"django>={oldest}"]
