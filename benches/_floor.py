"""Builds and imports the floor, the minimum cost of an evaluation from Rust memory."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


def floor() -> ModuleType:
    """Returns the module `floor`, built with the same profile as the extension."""
    # A separate target: another environment for PyO3 would rebuild the extension.
    target = ROOT / "target" / "floor"
    environment = {"PYO3_PYTHON": sys.executable, "PYO3_BUILD_EXTENSION_MODULE": "1"}
    command = ["cargo", "build", "--quiet", "--release", "--package", "floor"]
    command += ["--target-dir", str(target)]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True)
    suffix = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")
    path = target / "release" / f"libfloor.{suffix}"
    loader = ExtensionFileLoader("floor", str(path))
    spec = spec_from_loader("floor", loader)
    assert spec is not None  # noqa: S101 (for the type checker)
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module
