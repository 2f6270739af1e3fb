"""Where a server lives whose data stay: in the checkout, or where a note in it says."""

from __future__ import annotations

from pathlib import Path

from tools.postgres_account import PREFIX, open_directory, remove_directory, within_reach

SERVER = "postgres"
NOTE = "postgres-is-in"


def home_of(kept: Path) -> Path:
    """Return the directory for the server's files, the same one until it is forgotten."""
    kept.mkdir(exist_ok=True)
    home = kept / SERVER
    if within_reach(home / "data"):
        return home
    elsewhere = _noted(kept)
    if elsewhere is None:
        elsewhere = open_directory()
        (kept / NOTE).write_text(str(elsewhere))
    return elsewhere


def forget(kept: Path) -> None:
    """Delete the server's files, wherever they are."""
    for home in (kept / SERVER, _noted(kept)):
        if home is not None:
            remove_directory(home)


def _noted(kept: Path) -> Path | None:
    try:
        place = Path((kept / NOTE).read_text())
    except FileNotFoundError:
        return None
    # A temporary directory may have been swept away, and no other path of a note is ours to delete.
    return place if place.name.startswith(PREFIX) and place.is_dir() else None
