"""The password file is read as libpq reads it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from django.db import connections

from flagstaff._connection.parameters import connection_settings
from flagstaff._connection.passfile import password_for
from flagstaff.exceptions import ConfigurationError

SHOP = {"host": "db", "port": "5433", "dbname": "shop", "user": "alice"}
SOCKETS = ("/tmp",)

LINES = {
    "all fields": ("db:5433:shop:alice:secret", "secret"),
    "any of each": ("*:*:*:*:secret", "secret"),
    "the first that matches": ("other:*:*:*:no\ndb:*:*:*:first\n*:*:*:*:second", "first"),
    "another port": ("db:5432:shop:alice:secret", None),
    "another user": ("db:5433:shop:bob:secret", None),
    "colons and backslashes": (r"db:*:*:*:a\:b\\c:d", r"a:b\c:d"),
    "an escaped field": (r"\db:*:sh\op:*:secret", "secret"),
    "an escaped star is a star": (r"\*:*:*:*:secret", None),
    "a comment": ("#db:*:*:*:no\ndb:*:*:*:secret", "secret"),
    "too few fields": ("db:5433:shop:secret\n", None),
    "a line of another system": ("db:*:*:*:secret\r\n", "secret"),
    "nothing": ("", None),
}


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, newline="")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("what", LINES)
def test_password_of_a_connection(what: str, tmp_path: Path) -> None:
    text, password = LINES[what]
    assert password_for(written(tmp_path / "passwords", text), SHOP, SOCKETS) == password


def test_what_is_not_named_has_a_default(tmp_path: Path) -> None:
    path = written(tmp_path / "passwords", "localhost:5432:alice:alice:secret")
    assert password_for(path, {"user": "alice", "host": "/tmp"}, SOCKETS) == "secret"
    assert password_for(path, {"user": "alice"}, SOCKETS) == "secret"
    assert password_for(path, {"user": "alice", "host": "/elsewhere"}, SOCKETS) is None


def test_hosts_have_one_password(tmp_path: Path) -> None:
    several = SHOP | {"host": "db,other", "port": "5433"}
    alike = written(tmp_path / "alike", "db:*:*:*:secret\nother:5433:*:*:secret")
    assert password_for(alike, several, SOCKETS) == "secret"
    unlike = written(tmp_path / "unlike", "db:*:*:*:secret\nother:*:*:*:another")
    with pytest.raises(ConfigurationError, match="not the same password for every host"):
        password_for(unlike, several, SOCKETS)


@pytest.mark.skipif(os.name != "posix", reason="a file has no mode")
def test_file_that_is_open_to_others_is_left_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "passwords", "*:*:*:*:secret", mode=0o640)
    with caplog.at_level(logging.WARNING, "flagstaff"):
        assert password_for(path, SHOP, SOCKETS) is None
    [record] = caplog.records
    assert record.getMessage() == (
        "the password file is left aside: it must be a plain file with mode 0600"
    )


def test_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert password_for(tmp_path / "nowhere", SHOP, SOCKETS) is None


def test_password_comes_from_the_first_place_that_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connections["default"]
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / ".pgpass", "*:*:*:*:of the user")
    assert connection_settings(connection)["password"] == "of the user"
    monkeypatch.setenv("PGPASSFILE", str(written(tmp_path / "other", "*:*:*:*:of PGPASSFILE")))
    assert connection_settings(connection)["password"] == "of PGPASSFILE"
    assert "passfile" not in connection_settings(connection)
    options = {"passfile": str(written(tmp_path / "third", "*:*:*:*:of passfile"))}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    assert connection_settings(connection)["password"] == "of passfile"
    monkeypatch.setenv("PGPASSWORD", "of the environment")
    assert connection_settings(connection)["password"] == "of the environment"
