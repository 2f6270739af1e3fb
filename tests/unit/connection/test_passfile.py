"""The password file is read as libpq reads it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from django.db import connections

from flagstaff._connection import passfile
from flagstaff._connection.parameters import connection_parameters
from flagstaff._connection.passfile import password_for
from flagstaff.exceptions import ConfigurationError
from tests.support.tracebacks import local_variables

PARAMETERS = {"host": "db", "port": "5433", "dbname": "shop", "user": "alice"}
SOCKETS = ("/tmp",)

LINES = {
    "all fields": ("db:5433:shop:alice:secret", "secret"),
    "wildcards": ("*:*:*:*:secret", "secret"),
    "the first that matches": ("other:*:*:*:no\ndb:*:*:*:first\n*:*:*:*:second", "first"),
    "another port": ("db:5432:shop:alice:secret", None),
    "another user": ("db:5433:shop:bob:secret", None),
    "colons and backslashes": (r"db:*:*:*:a\:b\\c:d", r"a:b\c:d"),
    "an escaped field": (r"\db:*:sh\op:*:secret", "secret"),
    "an escaped star is a star": (r"\*:*:*:*:secret", None),
    "a comment": ("#db:*:*:*:no\ndb:*:*:*:secret", "secret"),
    "too few fields": ("db:5433:shop:secret\n", None),
    "a line that ends with CR LF": ("db:*:*:*:secret\r\n", "secret"),
    "an empty file": ("", None),
}


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, newline="")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("case", LINES)
def test_password_is_that_of_the_first_matching_line(case: str, tmp_path: Path) -> None:
    text, password = LINES[case]
    assert password_for(write(tmp_path / "passwords", text), PARAMETERS, SOCKETS) == password


def test_missing_parameters_have_defaults(tmp_path: Path) -> None:
    path = write(tmp_path / "passwords", "localhost:5432:alice:alice:secret")
    assert password_for(path, {"user": "alice", "host": "/tmp"}, SOCKETS) == "secret"
    assert password_for(path, {"user": "alice"}, SOCKETS) == "secret"
    assert password_for(path, {"user": "alice", "host": "/elsewhere"}, SOCKETS) is None


def test_several_hosts_need_the_same_password(tmp_path: Path) -> None:
    several = PARAMETERS | {"host": "db,other", "port": "5433"}
    same = write(tmp_path / "same", "db:*:*:*:secret\nother:5433:*:*:secret")
    assert password_for(same, several, SOCKETS) == "secret"
    different = write(tmp_path / "different", "db:*:*:*:secret\nother:*:*:*:another")
    with pytest.raises(ConfigurationError, match="different passwords for the hosts") as caught:
        password_for(different, several, SOCKETS)
    assert "another" not in local_variables(caught.value, passfile)


@pytest.mark.skipif(os.name != "posix", reason="a file has no mode")
def test_file_that_others_may_read_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "passwords", "*:*:*:*:secret", mode=0o640)
    with caplog.at_level(logging.WARNING, "flagstaff"):
        assert password_for(path, PARAMETERS, SOCKETS) is None
    [record] = caplog.records
    assert record.getMessage() == (
        "the password file is ignored: it must be a plain file with mode 0600"
    )


def test_missing_file_has_no_password(tmp_path: Path) -> None:
    assert password_for(tmp_path / "nowhere", PARAMETERS, SOCKETS) is None


def test_password_is_taken_in_the_order_of_libpq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connections["default"]
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / ".pgpass", "*:*:*:*:of the user")
    assert connection_parameters(connection)["password"] == "of the user"
    monkeypatch.setenv("PGPASSFILE", str(write(tmp_path / "other", "*:*:*:*:of PGPASSFILE")))
    assert connection_parameters(connection)["password"] == "of PGPASSFILE"
    assert "passfile" not in connection_parameters(connection)
    options = {"passfile": str(write(tmp_path / "third", "*:*:*:*:of passfile"))}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    assert connection_parameters(connection)["password"] == "of passfile"
    monkeypatch.setenv("PGPASSWORD", "of the environment")
    assert connection_parameters(connection)["password"] == "of the environment"
