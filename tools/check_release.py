"""Refuses a release that is not ready: `python -m tools.check_release v0.1.0 dist/*.whl`.

Compares the tag with the metadata of the wheels and with the changelog. Needs only Python.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.package_page import Metadata, metadata_of

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def main() -> int:
    """Checks the tag and the wheels given as arguments."""
    if not sys.argv[2:]:
        sys.exit(__doc__)
    tag, *wheels = sys.argv[1:]
    changelog = CHANGELOG.read_text()
    problems = {
        problem: None
        for wheel in wheels
        for problem in problems_of(tag, metadata_of(Path(wheel)), changelog)
    }
    if problems:
        sys.exit("\n".join(problems))
    return 0


def problems_of(tag: str, metadata: Metadata, changelog: str) -> Iterator[str]:
    """Yields what has to be changed before this tag is published."""
    version = metadata.version
    if tag != f"v{version}":
        yield f"the tag is {tag}, but pyproject.toml has version {version}"
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        yield f'CHANGELOG.md needs the heading "## {version} (date)", such as (2027-01-31)'
    for label, url in metadata.urls.items():
        if ".invalid/" in url:
            yield f"{label} in [project.urls] of pyproject.toml is a placeholder: set the address"
    documentation = metadata.urls.get("Documentation", "")
    minor = ".".join(version.split(".")[:2])
    if not documentation.endswith(f"/{minor}/"):
        yield f'Documentation in [project.urls] of pyproject.toml must end with "/{minor}/"'


if __name__ == "__main__":
    sys.exit(main())
