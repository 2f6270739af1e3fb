"""The article's project adopts flagstaff: the changed lines, its tests, every result."""

from pathlib import Path

import psycopg
import pytest

from tests.conftest import ROOT
from tests.support.fixtures import execute
from tests.support.pages import code_of
from tests.support.projects import Project
from tests.system.adoption.article_project import (
    MODELS,
    added_lines,
    adopt,
    adopt_with_data,
    article_project,
    assert_no_messages,
    passing_tests,
    run_script,
)
from tools.limits import seconds

TRIGGERS = """
    SELECT count(*) FROM pg_trigger
    WHERE tgname LIKE 'flagstaff%%' AND tgrelid = ANY (%s::regclass[])
"""
TABLES = "{common_featureflag,common_featureflag_allowed_users,common_keyvaluestore}"
ENTRIES = "SELECT count(*) FROM flagstaff_change"
USER_COUNT = 100
PAGE = "how-to/existing-models.md"


@pytest.fixture
def article(tmp_path: Path, empty_database: str) -> Project:
    return article_project(tmp_path, empty_database)


@pytest.mark.timeout(240)
def test_adoption_changes_no_result_and_no_test(article: Project) -> None:
    tests = passing_tests(article)
    assert tests == 15
    before, after = adopt_with_data(article, USER_COUNT)
    assert passing_tests(article) == tests
    assert_no_messages(article)
    assert after["mode"] == "live"
    assert sum(map(len, before["found"]["results"])) == 2_000


def test_change_through_the_own_models_is_seen_and_recorded_until_the_adoption_is_reversed(
    article: Project, empty_database: str
) -> None:
    adopt_with_data(article, 10)
    assert execute(empty_database, ENTRIES) == (0,)
    assert run_script(article, "change") < seconds(1)
    assert execute(empty_database, ENTRIES) == (6,)
    assert execute(empty_database, TRIGGERS, TABLES) == (24,)
    article.manage("migrate", "common", "0003", "--verbosity=0")
    assert execute(empty_database, TRIGGERS, TABLES) == (0,)
    article.manage("migrate", "flagstaff", "zero", "--verbosity=0")
    assert execute(empty_database, "SELECT count(*) FROM common_featureflag") == (20,)


def test_migration_lists_rows_that_a_constraint_refuses_and_the_update_corrects_them(
    article: Project, empty_database: str
) -> None:
    article.manage("migrate", "--verbosity=0")
    with psycopg.connect(empty_database, autocommit=True) as session:
        session.execute(
            "INSERT INTO common_featureflag (key, enabled, rollout_percent) "
            "VALUES ('dark_mode', true, 150), ('new_checkout', true, 100), ('search', true, 101)"
        )
        adopt(article)
        output = article.manage("migrate", "--verbosity=0", status=1)
        [message] = [line for line in output.splitlines() if "has rows that" in line]
        assert message.startswith(
            'flagstaff.exceptions.FlagstaffError: "common_featureflag" has rows that the '
            "constraint common_featureflag_rollout_percent_range refuses: dark_mode, search; "
        )
        session.execute(message.partition("for example: ")[2].encode())
    article.manage("migrate", "--verbosity=0")
    assert_no_messages(article)
    query = "SELECT count(*) FROM common_featureflag WHERE rollout_percent = 100"
    assert execute(empty_database, query) == (3,)


def test_project_with_an_owner_of_its_own_learns_what_to_rename(article: Project) -> None:
    article.append(
        "\n\nFeatureFlag.add_to_class('owner', models.ForeignKey(settings.AUTH_USER_MODEL, "
        "models.CASCADE, null=True, related_name='+'))\n",
        "common/models.py",
    )
    article.append(f'INSTALLED_APPS += ["flagstaff"]\n{MODELS}')
    output = article.manage("check", status=1)
    assert "common.FeatureFlag: (flagstaff.E005) the model does not inherit from" in output
    assert "HINT: rename owner and run makemigrations and migrate with --skip-checks; write" in (
        output
    )


def test_adoption_on_sqlite_has_the_same_results(tmp_path: Path) -> None:
    project = article_project(tmp_path, None)
    _before, after = adopt_with_data(project)
    assert after["mode"] == "direct"
    assert passing_tests(project) == 15
    assert run_script(project, "change") < seconds(1)
    assert_no_messages(project)


def test_page_has_every_line_of_the_adoption() -> None:
    lines = {line.strip() for block in code_of(PAGE, "python") for line in block.splitlines()}
    assert [line for line in added_lines() if line.strip() not in lines] == []
    assert f"{len(added_lines())} lines" in (ROOT / "docs" / PAGE).read_text()
