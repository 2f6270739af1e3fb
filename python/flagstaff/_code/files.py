"""The files of the project, their text, and a use of a key in it.

Needs no Django settings, and no database.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: A larger file is generated or minified, and is not read.
MAX_BYTES = 1_000_000
# Folders of other people's code, beside those of virtual environments and hidden ones.
_FOREIGN = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})


class UntrackedError(Exception):
    """Git does not list the files of a folder; says why."""


class NotSearchedError(Exception):
    """A text file that is not searched; says why."""


def tracked_files(folder: Path) -> list[str]:
    """Returns the files that git tracks in the repository of a folder, as seen from here.

    Raises UntrackedError without git, or outside of a repository.
    """
    command = ["git", "-C", str(folder), "ls-files", "-z", "--", ":/"]
    try:
        ran = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 (no input)
    except OSError as error:
        raise UntrackedError(f"git cannot be run ({error.strerror})") from error
    if ran.returncode:
        raise UntrackedError(os.fsdecode(ran.stderr).strip().partition("\n")[0])
    names = filter(None, os.fsdecode(ran.stdout).split("\0"))
    # An entry with a conflict is listed several times.
    paths = dict.fromkeys(os.path.relpath(folder / name) for name in names)
    # What a link leads to is searched where it is.
    return sorted(path for path in paths if Path(path).is_file() and not Path(path).is_symlink())


def project_files(folders: Iterable[Path], left_out: Collection[Path] = ()) -> Iterator[str]:
    """Yields the files below folders, each once, without those that the project did not write.

    `left_out` are further folders without the project's code, such as those of static files. So
    are repositories of git below without one of the folders: other projects beside this one.
    """
    seen: set[str] = set()
    skipped = {str(folder.resolve()) for folder in left_out}
    tops = [folder.resolve() for folder in folders]
    for top in tops:
        for folder, inner, names in os.walk(top):
            is_repository = ".git" in inner or ".git" in names
            is_other = is_repository and not any(own.is_relative_to(folder) for own in tops)
            if folder in seen or is_other or "pyvenv.cfg" in names:
                inner.clear()
                continue
            seen.add(folder)
            inner[:] = [
                name
                for name in inner
                if name not in _FOREIGN
                and not name.startswith(".")
                and os.path.join(folder, name) not in skipped  # noqa: PTH118 (thousands)
            ]
            yield from (os.path.join(folder, name) for name in sorted(names))  # noqa: PTH118


def read_text(path: str) -> str:
    """Returns the text of a file; nothing for a binary one. Raises OSError, NotSearchedError."""
    with Path(path).open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if b"\0" in data:
        return ""
    if len(data) > MAX_BYTES:
        raise NotSearchedError(f"larger than {MAX_BYTES // 1_000_000} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotSearchedError("not UTF-8") from error


def text_or_nothing(path: str) -> str:
    """Returns the text of a file; nothing for one that is not searched."""
    try:
        return read_text(path)
    except (OSError, NotSearchedError):
        return ""


# What is found in them.

FLAG, VALUE, EXPERIMENT = "flag", "value", "experiment"
#: The code does not say which of them.
ANY = ""


@dataclass(frozen=True)
class Use:
    """A line that evaluates or overrides a key, or that names a declaration that is gone."""

    path: str
    #: The first line is 1.
    line: int
    #: The line without its indent.
    code: str
    #: What the code takes the key for: `flag`, `value`, `experiment`, or nothing of these.
    kind: str
    #: The key; of a declaration that is gone, its name.
    key: str
    #: Whether a test overrides it.
    is_override: bool = False
    #: The file that lacks the declaration; empty for a key.
    missing_in: str = ""
    #: The names that this file has.
    names: tuple[str, ...] = ()
