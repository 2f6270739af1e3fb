"""Packages of npm that the tests need, pinned by checksums. Their scripts are not run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["ROOT", "installed"]

ROOT = Path(__file__).resolve().parent.parent
_MANIFESTS = ROOT / "tools" / "npm"


def installed(
    name: str, purpose: str, cache: Path, finish: Callable[[Path], None] = lambda _: None
) -> Path:
    """Returns the directory `node_modules` of tools/npm/<name>; downloads it if necessary.

    `purpose` is named in the LookupError of a machine without npm or without its registry. `finish`
    is called with a fresh directory, before other processes see it.
    """
    manifests = [_MANIFESTS / name / file for file in ("package.json", "package-lock.json")]
    place = cache / sha256(manifests[1].read_bytes()).hexdigest()[:12]
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Under another name until it is complete: several processes may need it at once.
        with TemporaryDirectory(dir=cache) as temporary:
            fresh = Path(temporary) / "packages"
            fresh.mkdir()
            for manifest in manifests:
                shutil.copy(manifest, fresh)
            _install(fresh, purpose)
            finish(fresh / "node_modules")
            _publish(fresh, place)
    return place / "node_modules"


def _publish(fresh: Path, place: Path) -> None:
    try:
        fresh.rename(place)
    except OSError:
        # Another process was faster.
        if not place.exists():
            raise


def _install(directory: Path, purpose: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise LookupError(f"npm is needed to download {purpose}: install Node.js")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    # Without a network, npm would try for more than a minute.
    command += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LookupError(f"npm could not download {purpose}:\n{result.stderr}")
