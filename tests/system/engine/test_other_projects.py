"""Results and counts are the same on SQLite and with other primary keys of users.

Each project runs the tests of tests/database and tests/conformance again, in a child.
"""

import pytest

from tests.conftest import RunIsolated

IMPACT = "tests/database/changes/test_impact.py"
GROUPS = "tests/database/engine/test_direct_groups.py"
# The tests that need no other field of a user than its primary key and name.
ANY_KEY = "rollout_counts or test_cases or articles_results"
RESULTS = ("tests/database/engine/test_results.py", "tests/conformance")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("project", "files", "tests"),
    [
        ("settings_sqlite", [IMPACT, GROUPS], ""),
        ("apps.settings_bigint", RESULTS, "test_cases"),
        ("apps.settings_uuid", [IMPACT, *RESULTS], ANY_KEY),
        ("apps.settings_text", [IMPACT, *RESULTS], ANY_KEY),
    ],
)
def test_results_and_counts_of_other_projects_are_the_same(
    project: str, files: list[str], tests: str, run_isolated: RunIsolated
) -> None:
    options = ["-q", "-p", "no:cacheprovider", f"--ds=tests.support.{project}", "-k", tests]
    run_isolated("import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))", *options, *files)
