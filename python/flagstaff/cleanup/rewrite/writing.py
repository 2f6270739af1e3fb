"""Writes files that git can take back: all of them, or none."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path


class NotWrittenError(Exception):
    """Nothing was written; says why."""


def write_all(files: Mapping[str, tuple[str, str]]) -> None:
    """Writes the new text of each file, which must have its old text and be unchanged in git.

    Raises NotWrittenError. If a file cannot be replaced, those before it get their old text again.
    """
    for path in files:
        _require_unchanged(path)
    prepared: dict[str, str] = {}
    replaced: list[str] = []
    try:
        for path, (old, new) in files.items():
            prepared[path] = _prepared(path, old, new)
        for path, temporary in prepared.items():
            Path(temporary).replace(path)
            replaced.append(path)
    except OSError as error:
        for path in replaced:
            Path(path).write_bytes(files[path][0].encode())
        raise NotWrittenError(f"{error.filename}: {error.strerror}") from error
    finally:
        for temporary in prepared.values():
            Path(temporary).unlink(missing_ok=True)


def _prepared(path: str, old: str, new: str) -> str:
    """Writes the new text beside the file, with its permissions. Returns the path."""
    if Path(path).read_bytes() != old.encode():
        raise NotWrittenError(f"{path} has changed since it was read; run the command again")
    handle, temporary = tempfile.mkstemp(dir=Path(path).parent, prefix=".flagstaff-")
    with os.fdopen(handle, "wb") as file:
        file.write(new.encode())
        os.fchmod(handle, Path(path).stat().st_mode)
    return temporary


def _require_unchanged(path: str) -> None:
    if Path(path).is_symlink():
        raise NotWrittenError(f"{path} is a symbolic link; pass the path of the file itself")
    folder, name = str(Path(path).parent), Path(path).name
    if _git(folder, "ls-files", "--error-unmatch", "--", name) is None:
        raise NotWrittenError(f"git does not know {path}; commit it, or use --diff")
    if _git(folder, "status", "--porcelain", "--", name):
        raise NotWrittenError(f"{path} has changes that are not committed; commit them first")


def _git(folder: str, *arguments: str) -> str | None:
    """Returns the output of git; None if it fails. Raises NotWrittenError without git."""
    try:
        command = ["git", "-C", folder, *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise NotWrittenError("git is not installed; use --diff") from error
    return ran.stdout if ran.returncode == 0 else None
