"""Bundles the script of the page "Front end" of the example with the SDK of OpenFeature.

`python -m tools.front_end` builds it, as `make demo` does.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tools.npm_packages import ROOT, installed

__all__ = ["build"]

_STORE = ROOT / "django_example" / "store"
_SOURCE = _STORE / "front_end" / "main.js"
_BUILT = _STORE / "static" / "store" / "front_end.built.js"


def build() -> Path:
    """Writes the script, and returns the directory `node_modules` with the SDK.

    Raises LookupError if npm, its registry, or a bundler for this system is missing.
    """
    modules = installed("front-end", "the SDK of OpenFeature", ROOT / "target" / "front-end")
    bundler = next(modules.glob("@esbuild/*/bin/esbuild"), None)
    if bundler is None:
        raise LookupError("esbuild is not pinned for this system: see tools/npm/front-end")
    script = subprocess.run(
        [bundler, _SOURCE, "--bundle", "--minify", "--format=esm", "--log-level=warning"],
        env=os.environ | {"NODE_PATH": str(modules)},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    # A server may be reading an equal one.
    if not _BUILT.exists() or _BUILT.read_bytes() != script:
        _BUILT.write_bytes(script)
    return modules


if __name__ == "__main__":
    build()
