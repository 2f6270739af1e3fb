"""Each block of code in a page is run by a test, or is named here with the reason why not."""

import os
import re
from pathlib import Path

import pytest

from tests.support.page_readers import readers
from tests.support.pages import DOCS
from tests.system.docs.test_docs import BLOCKS, COMMANDS, OTHER_PROJECTS, PAGES, Block

READERS = [*readers()]
#: What no test of a page starts.
PROGRAMS = {
    "bash": "starts inside of a container",
    "createdb": "creates a database of the reader's server",
    "curl": "asks a running server",
    "django-admin": "begins a project",
    "docker": "needs a daemon",
    "gunicorn": "serves until it is stopped",
    "jq": "another program reads the file of a third one",
    "make": "builds; a test says that the target exists",
    "npm": "installs from a registry",
    "pip": "installs from an index",
    "psql": "asks for passwords; tests/system/security runs the other statements",
    "python": "makes a random secret, or an environment",
    "ssh": "needs a second machine",
}
#: Blocks that nothing runs: page, a part of the block, and why.
NOT_RUN = [
    ("architecture.md", "", "drawings"),
    ("discussions/plan-guards.md", "", "formulas; tests/database/rollouts computes them"),
    ("how-to/admin-set-up.md", "msginit", "needs gettext"),
    ("how-to/openfeature.md", "OpenFeature", "the example runs such a script in a browser"),
    ("how-to/webhooks.md", "* * * * *", "a line of cron"),
    ("how-to/webhooks.md", "[Unit]", "a unit of systemd"),
    ("runbook.md", "WARNING the database lacks", "a line of the log"),
    ("../django_example/README.md", "gunicorn", "serves until it is stopped"),
]


def page_of(block: Block) -> str:
    return os.path.relpath(block.page, DOCS)


def commands_of(block: Block) -> list[str]:
    """Returns the programs that a block of a terminal starts."""
    lines = re.findall(r"^\$ (?:\w+=\S+ )*(.+)", block.code, re.MULTILINE)
    return ["manage.py" if line.startswith("python manage.py ") else line for line in lines]


def is_taken(block: Block) -> bool:
    """Whether a test takes the block from its page."""
    return any(
        (reader.page, reader.language) == (page_of(block), block.language)
        and reader.having in block.code
        for reader in READERS
    )


def is_run(block: Block) -> bool:
    if block.language in ("python", "py"):
        return is_taken(block) or not any(name in block.code for name in OTHER_PROJECTS)
    return is_taken(block) or block.language == "pycon" or block.page == COMMANDS


def is_parsed(block: Block) -> bool:
    """Whether it has only commands of the package, which their parsers have accepted."""
    return set(commands_of(block)) == {"manage.py"}


def is_named(block: Block) -> bool:
    started = {line.split()[0] for line in commands_of(block)} - {"manage.py"}
    return any(
        page == page_of(block) and part in block.code for page, part, _why in NOT_RUN
    ) or bool(started and started <= PROGRAMS.keys())


def test_block_is_run_or_named() -> None:
    left = [block for block in BLOCKS if not (is_run(block) or is_parsed(block) or is_named(block))]
    assert [str(block) for block in left] == []


def test_named_block_exists_and_is_not_run() -> None:
    for page, part, _why in NOT_RUN:
        named = [block for block in BLOCKS if page_of(block) == page and part in block.code]
        assert named, (page, part)
        assert any(not is_run(block) for block in named), (page, part)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: os.path.relpath(page, DOCS))
def test_code_begins_where_the_site_and_the_tests_see_it(page: Path) -> None:
    """The site has no fences in lists, no tabs and no admonitions. Each fence has a language."""
    text = re.sub(r"(?ms)^```\w+\n.*?^```$", "", page.read_text())
    unseen = re.findall(
        r"(?m)^ *(?:```|~~~|!!!|\?\?\?|===).*|(?:^|\n\n)(?: {4}|\t)(?!options:)\S.*", text
    )
    assert unseen == []
