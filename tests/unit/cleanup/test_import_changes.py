"""Imports that a rewriting adds and removes: where they go, and what stays around them."""

from __future__ import annotations

from typing import Any

import libcst as cst
import pytest

from flagstaff.cleanup.rewrite.edits import Source
from flagstaff.cleanup.rewrite.import_changes import ImportChange, import_edits, imports_in

ONE = {("flagstaff", "flag_enabled")}
_NEW = "from flagstaff import flag_enabled\n"
CASES = {
    "alone": ("import waffle\n", "from flagstaff import flag_enabled\n"),
    "sorted by form": (
        "import waffle\nimport yaml\nfrom django import a\nfrom xyz import b\n",
        f"import yaml\nfrom django import a\n{_NEW}from xyz import b\n",
    ),
    "sorted by name": (
        "import waffle\nfrom xyz import a\nimport yaml\n",
        "from flagstaff import flag_enabled\nfrom xyz import a\nimport yaml\n",
    ),
    "not sorted": (
        "import yaml\nimport waffle\nimport attrs\n",
        "import yaml\nfrom flagstaff import flag_enabled\nimport attrs\n",
    ),
    "group of its own": (
        "import os\n\nimport waffle\nfrom django import a\n\nimport shop\n",
        f"import os\n\nfrom django import a\n{_NEW}\nimport shop\n",
    ),
    "comments": (
        "import attrs\n# a\nimport waffle  # b\n# c\nfrom django import a\n",
        "import attrs\n# c\nfrom django import a\n# a\nfrom flagstaff import flag_enabled  # b\n",
    ),
    "merged": (
        "import waffle\nfrom flagstaff import (\n    all_flags,\n    snapshot,\n)\n",
        "from flagstaff import (\n    all_flags,\n    flag_enabled,\n    snapshot,\n)\n",
    ),
    "not merged below other code": (
        "import waffle\nwaffle.x()\nfrom flagstaff import explain\n",
        f"{_NEW}waffle.x()\nfrom flagstaff import explain\n",
    ),
    "imported by another name": (
        "import waffle\nfrom flagstaff import flag_enabled as on\n",
        "from flagstaff import flag_enabled as on, flag_enabled\n",
    ),
    "merged below a comment": (
        "import waffle\nfrom flagstaff import (\n    all_flags,  # a\n)\n",
        "from flagstaff import (\n    all_flags,  # a\n    flag_enabled,\n)\n",
    ),
    "merged at the end": (
        "import waffle\nfrom flagstaff import explain\n",
        "from flagstaff import explain, flag_enabled\n",
    ),
    "below a star import": (
        "import attrs\nfrom shop import *\nimport waffle\nimport yaml\n",
        f"import attrs\nfrom shop import *\nimport yaml\n{_NEW}",
    ),
    "windows": (
        "import waffle\r\nimport yaml\r\n",
        "import yaml\r\nfrom flagstaff import flag_enabled\r\n",
    ),
    "in a function": (
        "def f():\n    import waffle\n    import yaml\n    return 1\n",
        "def f():\n    import yaml\n    from flagstaff import flag_enabled\n    return 1\n",
    ),
}


def _changed(code: str, number: int, added: set[tuple[str, str]]) -> str:
    source = Source(cst.parse_module(code))
    node: Any = imports_in(source.tree)[number]
    change = ImportChange(removed={node.names[0]}, added=added)
    return source.edited(import_edits(source, {node: change}))


@pytest.mark.parametrize("name", CASES)
def test_import_goes_where_the_file_is_sorted(name: str) -> None:
    before, after = CASES[name]
    nodes = before.split("import waffle")[0].count("import")
    assert _changed(before, nodes, ONE) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from waffle import a, b\n", "from waffle import b\n"),
        ("from waffle import (\n    a,  # one\n    b,\n)\n", "from waffle import (\n    b,\n)\n"),
        ("# why\nimport waffle\nx = 1\n", "# why\nx = 1\n"),
        ("import waffle\n\nimport os\n", "import os\n"),
        ("# why\n\nimport waffle\n\nimport os\n", "# why\n\nimport os\n"),
        ("import os\n\nimport waffle\nx = 1\n", "import os\n\nx = 1\n"),
        ("if x:\n    import waffle\n", "if x:\n    pass\n"),
    ],
)
def test_import_that_nothing_uses_goes(before: str, after: str) -> None:
    number = 1 if before.startswith("import os") else 0
    assert _changed(before, number, set()) == after
