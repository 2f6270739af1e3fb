"""The last release, built from its commit: what workers of a rolling deploy may still run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from tests.support.python_processes import ROOT

#: A newer release replaces it here, and nowhere else.
COMMIT = "d3b37fbba2b903f81798407fd8f8087bc9fa61bb"
_BUILDS = ROOT / "target" / "old-release"
# What the crate and the package are made of.
_SOURCES = ("Cargo.toml", "Cargo.lock", "pyproject.toml", "README.md", "LICENSE")
_FOLDERS = ("src", "python", "benches/floor")


def old_release() -> Path:
    """Returns the folder with the old package, for PYTHONPATH. Blocks for the time of a build.

    It is built once, and stays below `target`.
    """
    package = _BUILDS / COMMIT
    if not package.exists():
        work = _BUILDS / f"build-{os.getpid()}"
        try:
            ZipFile(_built_wheel(work)).extractall(work / "package")
            (work / "package").rename(package)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return package


def _built_wheel(work: Path) -> Path:
    _extract(work / "source")
    target = work / "target"
    _copy_dependencies(target / "quick")
    maturin = [str(Path(sys.executable).parent / "maturin"), "build", "--quiet", "--locked"]
    maturin += ["--profile", "quick", "--features", "python,tests", "--compatibility", "off"]
    maturin += ["--interpreter", sys.executable, "--target-dir", str(target), "--out", str(work)]
    subprocess.run(
        maturin,
        cwd=work / "source",
        env=os.environ | {"PYO3_PYTHON": sys.executable, "VIRTUAL_ENV": sys.prefix},
        check=True,
    )
    [wheel] = work.glob("*.whl")
    return wheel


def _extract(source: Path) -> None:
    """Extracts the commit. Raises LookupError if the clone does not have it."""
    source.mkdir(parents=True)
    git = ["git", "-C", str(ROOT), "archive", "--format=tar", COMMIT, *_SOURCES, *_FOLDERS]
    archive = subprocess.run(git, capture_output=True, check=False)
    if archive.returncode != 0:
        raise LookupError(
            f"the commit {COMMIT} of the old release is not in this clone: if it is shallow, run "
            f'"git fetch --unshallow"; git says: {archive.stderr.decode().strip()}'
        )
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive.stdout, check=True)


def _copy_dependencies(target: Path) -> None:
    """Copies the compiled dependencies, so that only the crate itself is compiled.

    The builds cannot share a folder: cargo takes both crates for the same one.
    """
    for folder in ("deps", "build", ".fingerprint"):
        compiled = ROOT / "target" / "quick" / folder
        if compiled.exists():
            without_crate = shutil.ignore_patterns("*flagstaff-*")
            shutil.copytree(compiled, target / folder, ignore=without_crate)
