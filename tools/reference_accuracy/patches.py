"""Applies the patch of each key, with both results, and checks what it leaves."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flagstaff.cleanup.references import Reference
from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.patching import patch
from flagstaff.cleanup.references.searching import search_files
from flagstaff.cleanup.references.worker import Share
from tools.reference_accuracy.template_parsing import template_problem

__all__ = ["Patched", "patched"]


@dataclass
class Patched:
    """What the patches of a code base did."""

    patches: int = 0
    files: int = 0
    #: Places with the key of a patch, and those that it left to a person.
    places: int = 0
    remaining: int = 0
    problems: list[str] = field(default_factory=list)

    def __add__(self, other: Patched) -> Patched:
        return Patched(
            self.patches + other.patches,
            self.files + other.files,
            self.places + other.places,
            self.remaining + other.remaining,
            self.problems + other.problems,
        )


def patched(root: Path, exclude: Sequence[str] = ()) -> Patched:
    """Makes, applies and takes back the patch of each key, and one of all keys at once."""
    files = searched_files([root], exclude)
    found = search_files(files)
    keys = sorted({one.key for one in found.references if one.key and one.about == "flag"})
    done = Patched()
    for is_on in (True, False):
        for chosen in (*([key] for key in keys), keys):
            results = dict.fromkeys(chosen, is_on)
            done += _one(found, results)
    return done


def _one(found: Share, results: Mapping[str, bool]) -> Patched:
    about = _named(results)
    mine = [one for one in found.references if one.key in results and one.about == "flag"]
    try:
        made = patch(found, mine, results)
    except Exception as error:  # noqa: BLE001 (a crash is a result of the measurement)
        return Patched(problems=[f"{about}: {error!r}"])
    left = sum(one.key in results for one in made.remaining)
    done = Patched(int(bool(made.text)), 0, len(mine), left)
    if made.text:
        done.problems += [f"{about}: {problem}" for problem in _applied(made.text, mine, done)]
    return done


def _applied(text: str, mine: Sequence[Reference], done: Patched) -> Iterator[str]:
    """Applies the patch, yields the problems of the files, and takes it back."""
    paths = sorted({Path(one.path) for one in mine})
    before = {path: path.read_bytes() for path in paths}
    if problem := _git("--check", text) or _git("--quiet", text):
        yield f"does not apply: {problem}"
        return
    for path, old in before.items():
        new = path.read_bytes()
        if new != old:
            done.files += 1
            if wrong := _problem(path, old, new):
                yield f"{path}: {wrong}"
            path.write_bytes(old)


def _problem(path: Path, old: bytes, new: bytes) -> str | None:
    if path.suffix != ".py":
        return template_problem(path, old.decode(), new.decode())
    try:
        compile(new, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{error.msg}, line {error.lineno}: {error.text}"
    return None


def _git(option: str, text: str) -> str:
    # The paths of the patch begin at the root.
    command = ["git", "apply", option, "-"]
    done = subprocess.run(command, input=text, cwd="/", text=True, capture_output=True, check=False)
    return done.stderr.strip() or "failed" if done.returncode else ""


def _named(results: Mapping[str, bool]) -> str:
    name = next(iter(results)) if len(results) == 1 else f"all {len(results)} keys"
    return f"{name}={'on' if all(results.values()) else 'off'}"
