"""The password file and the service file are read as libpq reads them."""

import logging
import os
import re
from pathlib import Path

import pytest
from django.db import connections

from flagstaff import _connection
from flagstaff._connection import connection_parameters, password_for, service_parameters
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


def test_missing_parameters_have_defaults_and_a_missing_file_no_password(tmp_path: Path) -> None:
    path = write(tmp_path / "passwords", "localhost:5432:alice:alice:secret")
    assert password_for(path, {"user": "alice", "host": "/tmp"}, SOCKETS) == "secret"
    assert password_for(path, {"user": "alice"}, SOCKETS) == "secret"
    assert password_for(path, {"user": "alice", "host": "/elsewhere"}, SOCKETS) is None
    assert password_for(tmp_path / "nowhere", {"user": "alice"}, SOCKETS) is None


def test_several_hosts_need_the_same_password(tmp_path: Path) -> None:
    several = PARAMETERS | {"host": "db,other"}
    same = write(tmp_path / "same", "db:*:*:*:secret\nother:5433:*:*:secret")
    assert password_for(same, several, SOCKETS) == "secret"
    different = write(tmp_path / "different", "db:*:*:*:secret\nother:*:*:*:another")
    with pytest.raises(ConfigurationError, match="different passwords for the hosts") as caught:
        password_for(different, several, SOCKETS)
    assert "another" not in local_variables(caught.value, _connection)


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


SERVICES = """
# the databases of the shop
[replica]
host=elsewhere
[shop]
  host=db.example
port=5433
options=-c search_path=shop
host=second
sslmode=verify-full

[broken]
password=hunter2
host
[shop]
user=ignored
"""


@pytest.fixture
def service_file(tmp_path: Path) -> str:
    path = tmp_path / "services"
    path.write_text(SERVICES)
    return str(path)


def test_parameters_of_a_service_are_read(service_file: str) -> None:
    assert service_parameters("shop", service_file) == {
        "host": "db.example",
        "port": "5433",
        "options": "-c search_path=shop",
        "sslmode": "verify-full",
    }


def test_service_of_the_user_precedes_that_of_the_system(
    service_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSERVICEFILE", raising=False)
    monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path))
    (tmp_path / ".pg_service.conf").write_text("[shop]\nhost=of-the-user\n")
    (tmp_path / "pg_service.conf").write_text("[shop]\nhost=no\n[bakery]\nhost=of-the-system\n")
    assert service_parameters("shop", "") == {"host": "of-the-user"}
    assert service_parameters("bakery", "") == {"host": "of-the-system"}


def test_invalid_line_and_missing_service_are_errors(service_file: str) -> None:
    invalid = 'connection service "broken" has an invalid line'
    with pytest.raises(ConfigurationError, match=invalid) as caught:
        service_parameters("broken", service_file)
    assert "hunter2" not in local_variables(caught.value, _connection)
    message = f'connection service "missing" is not found in {re.escape(service_file)}; '
    with pytest.raises(ConfigurationError, match=message):
        service_parameters("missing", service_file)


def test_service_is_used_after_the_settings_and_before_the_environment(
    service_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connections["default"]
    monkeypatch.setenv("PGSERVICEFILE", service_file)
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setitem(connection.settings_dict, "HOST", "given")
    monkeypatch.setitem(connection.settings_dict, "PORT", "")
    for options in ({"service": "shop"}, {}):
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
        if not options:
            monkeypatch.setenv("PGSERVICE", "shop")
        parameters = connection_parameters(connection)
        assert (parameters["host"], parameters["port"]) == ("given", "5433")
        assert parameters["sslmode"] == "verify-full"
        assert "service" not in parameters


def test_security_parameters_of_the_environment_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREQUIREAUTH", "scram-sha-256")
    monkeypatch.setenv("PGREQUIRESSL", "1")
    parameters = connection_parameters(connections["default"])
    assert (parameters["require_auth"], parameters["sslmode"]) == ("scram-sha-256", "require")
