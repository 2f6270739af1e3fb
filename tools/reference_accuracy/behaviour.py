"""Whether the functions of a planted file return the same after their patch."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.patching import patch
from flagstaff.cleanup.references.searching import search_files
from flagstaff.testing import override_flag
from tools.reference_accuracy.planting import FOLDER

__all__ = ["changed_behaviour"]

_FILE, _KEY = Path(FOLDER, "branches.py"), "b_flag"
_ARGUMENTS = (0, 1, 2)


def changed_behaviour(root: Path) -> Iterator[str]:
    """Yields each function that returns something else after the patch of its flag."""
    file = root / _FILE
    old = file.read_text()
    for is_on in (True, False):
        with override_flag(_KEY, is_on):
            before = _results(old)
        files = searched_files([file])
        found = search_files(files)
        made = patch(found, found.references, {_KEY: is_on})
        command = ["git", "apply"]
        subprocess.run(command, input=made.text, text=True, cwd="/", check=True)
        new = file.read_text()
        file.write_text(old)
        # What the patch left evaluates the flag as before.
        with override_flag(_KEY, is_on):
            after = _results(new)
        for name, expected in before.items():
            if after.get(name) != expected:
                yield f"{name} with the result {is_on}: {expected}, then {after.get(name)}"


def _results(source: str) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "branches"}
    exec(compile(source, str(_FILE), "exec", dont_inherit=True), names)  # noqa: S102 (our own file)
    return {
        name: [_result(function, argument) for argument in _ARGUMENTS]
        for name, function in names.items()
        if name.startswith("case_")
    }


def _result(function: object, argument: int) -> object:
    try:
        return function(argument)  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001 (an error is a result)
        return repr(error)
