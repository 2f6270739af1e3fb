"""The article's project, and the steps of its adoption of flagstaff."""

import re
from difflib import ndiff
from pathlib import Path
from typing import Any

from tests.support.projects import Project

HERE = Path(__file__).resolve().parent
ARTICLE, ADOPTED = HERE / "article", HERE / "adopted"
MODELS = """
FLAGSTAFF = {
    "FLAG_MODEL": "common.FeatureFlag",
    "VALUE_MODEL": "common.KeyValueStore",
}
"""
_NEW_FILES = {str(file.relative_to(ADOPTED)): file.read_text() for file in ADOPTED.rglob("*.py")}


def article_project(
    folder: Path, database: str | None, settings: str = "", apps: tuple[str, ...] = ()
) -> Project:
    """A copy of the article's project, with more settings and apps."""
    apps = ("common", "checkout", *apps)
    urls = "config.urls"
    return Project(folder, database, copied=ARTICLE, apps=apps, urls=urls, settings=settings)


def adopt(project: Project) -> None:
    """Applies the changes of the adoption, and makes the migration of the inherited fields."""
    project.append(f'INSTALLED_APPS += ["flagstaff"]\n{MODELS}')
    triggers = {name for name in _NEW_FILES if "/migrations/" in name}
    for name in _NEW_FILES.keys() - triggers:
        project.write(name, _NEW_FILES[name])
    project.manage("makemigrations", "common", "--name=inherit", "--verbosity=0")
    for name in triggers:
        project.write(name, _NEW_FILES[name])


def added_lines() -> list[str]:
    """Returns the lines that the adoption adds to the article's project."""
    added = ['"flagstaff",', *MODELS.splitlines()]
    for name, text in _NEW_FILES.items():
        old = (ARTICLE / name).read_text() if (ARTICLE / name).exists() else ""
        lines = ndiff(old.splitlines(), text.splitlines())
        added += [line[2:] for line in lines if line.startswith("+ ")]
    return added


def adopt_with_data(project: Project, users: int = 50) -> tuple[dict[str, Any], dict[str, Any]]:
    """Creates data, adopts flagstaff, and checks that every result is unchanged.

    Returns the output of the survey before and after.
    """
    project.manage("migrate", "--verbosity=0")
    run_script(project, "seed", USERS=str(users))
    before = run_script(project, "survey")
    adopt(project)
    project.manage("migrate", "--verbosity=0")
    after = run_script(project, "survey")
    results = after["found"]
    assert [name for name, result in before["found"].items() if results[name] != result] == []
    return before, after


def run_script(project: Project, name: str, **variables: str) -> Any:
    """Returns the JSON on the last line that a script of `scripts/` prints."""
    return project.printed((HERE / "scripts" / f"{name}.py").read_text(), **variables)


def passing_tests(project: Project) -> int:
    """Runs the project's own tests, and returns their number. All must pass."""
    [count] = re.findall(r"^Ran (\d+) tests.*\n\nOK$", project.manage("test"), re.MULTILINE)
    return int(count)


def assert_no_messages(project: Project, alias: str = "default") -> None:
    """Asserts that no migration is missing and that no system check reports anything."""
    assert "No changes detected" in project.manage("makemigrations", "--check")
    output = project.manage("check", "--database", alias)
    assert output == "System check identified no issues (0 silenced).\n", output
