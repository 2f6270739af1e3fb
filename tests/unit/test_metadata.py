"""The metadata of the package says what CI tests: its oldest and its newest versions."""

import re
from importlib.metadata import metadata

import yaml

from tests.conftest import ROOT

METADATA = metadata("django-flagstaff")
README = (ROOT / "README.md").read_text()
CLASSIFIERS = METADATA.get_all("Classifier") or []


def classified(name: str) -> list[str]:
    """Returns the versions of Python or Django, in the order of the classifiers."""
    matches = (re.fullmatch(rf"{name} :: (\d+\.\d+)", classifier) for classifier in CLASSIFIERS)
    return [match[1] for match in matches if match]


def supported(name: str) -> list[str]:
    """Returns the versions on the page of stable names."""
    page = (ROOT / "docs" / "reference" / "stable.md").read_text()
    [cell] = re.findall(rf"^\| {name} \| (.+) \|$", page, re.MULTILINE)
    return re.findall(r"([\d.]+) \(\d{4}-\d\d\)", cell)


def ends(versions: list[str]) -> tuple[str, str]:
    ordered = sorted(versions, key=lambda version: [int(part) for part in version.split(".")])
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
    required = [
        requirement
        for requirement in METADATA.get_all("Requires-Dist") or []
        if "extra" not in requirement
    ]
    assert [requirement.lower() for requirement in required] == [f"django>={oldest}"]


def test_page_of_stable_names_has_the_versions_that_are_tested() -> None:
    assert supported("CPython") == classified("Programming Language :: Python")
    assert supported("Django") == classified("Framework :: Django")
    makefile = (ROOT / "Makefile").read_text()
    [servers] = re.findall(r"for version in ([\d ]+);", makefile)
    assert supported("PostgreSQL") == servers.split()


def test_readme_names_the_oldest_versions_of_the_page() -> None:
    for name in ("Python", "Django", "PostgreSQL"):
        oldest = supported("CPython" if name == "Python" else name)[0]
        assert f"{name} {oldest}" in README


def test_addresses_are_those_that_people_look_for() -> None:
    urls = dict(url.split(", ") for url in METADATA.get_all("Project-URL") or [])
    assert set(urls) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert urls["Changelog"].startswith(urls["Source"])
    minor = METADATA["Version"].rpartition(".")[0]
    assert urls["Documentation"].endswith(f"/{minor}/")
