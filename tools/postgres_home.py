"""The directory of a server with permanent data: in the checkout, or elsewhere by a note in it."""

from __future__ import annotations

from pathlib import Path

from tools.postgres_account import PREFIX, open_directory, remove_directory, within_reach

SERVER = "postgres"
NOTE = "postgres-is-in"


def home_of(folder: Path) -> Path:
    """Returns the directory for the server's files, the same one until `forget`."""
    folder.mkdir(exist_ok=True)
    home = folder / SERVER
    if within_reach(home / "data"):
        return home
    elsewhere = _noted(folder)
    if elsewhere is None:
        elsewhere = open_directory()
        (folder / NOTE).write_text(str(elsewhere))
    return elsewhere


def forget(folder: Path) -> None:
    """Deletes the server's files."""
    for home in (folder / SERVER, _noted(folder)):
        if home is not None:
            remove_directory(home)


def _noted(folder: Path) -> Path | None:
    try:
        place = Path((folder / NOTE).read_text())
    except FileNotFoundError:
        return None
    # The system may have deleted a temporary directory. Never delete any other path in a note.
    return place if place.name.startswith(PREFIX) and place.is_dir() else None
