"""A log-in that a real server refuses is reported with its cause.

tests/core/postgres_refresh.rs has the refusals that need a fake server.
"""

import json
from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import RunIsolated
from tests.support.certificates import certificate
from tools.postgres import Postgres
from tools.postgres_account import give_to_postgres, open_directory, remove_directory

# A version whose binaries support TLS.
VERSION = 17
RUN = "from tests.support.tls_process import main; main()"
# The method ident asks a server on port 113 of the client, where there is none.
RULES = """
host all postgres,nologin,nobody,alone all trust
hostssl all certified all cert
host all certified all reject
host all asked_by_ident all ident
host all rejected all reject
host all all all scram-sha-256
"""
SHOP = """
SET password_encryption = 'scram-sha-256';
CREATE ROLE clerk LOGIN PASSWORD 'right';
CREATE ROLE expired LOGIN PASSWORD 'right' VALID UNTIL '2000-01-01';
CREATE ROLE nologin;
CREATE ROLE certified LOGIN;
CREATE ROLE asked_by_ident LOGIN;
CREATE ROLE rejected LOGIN;
CREATE ROLE alone LOGIN CONNECTION LIMIT 0;
SET password_encryption = 'md5';
CREATE ROLE hashed LOGIN PASSWORD 'right';
"""
DATABASES = (
    "CREATE DATABASE closed ALLOW_CONNECTIONS false",
    "CREATE DATABASE private",
    "REVOKE CONNECT ON DATABASE private FROM PUBLIC",
    "CREATE DATABASE busy CONNECTION LIMIT 0",
)

LOGIN = "connect: the log-in was refused: "
WRONG = (
    f"{LOGIN}USER or PASSWORD in DATABASES is wrong, or the role's password has expired (VALID "
    "UNTIL) or is stored for another method than that of pg_hba.conf (SQLSTATE 28P01)"
)
NO_RULE = (
    f"{LOGIN}pg_hba.conf does not admit this USER, database, address or encryption, or requires a "
    "client certificate, see sslmode and sslcert (SQLSTATE 28000)"
)
NO_LOGIN = (
    f"{LOGIN}there is no such role, or it may not log in, see USER in DATABASES, or ALTER ROLE ..."
    " LOGIN (SQLSTATE 28000)"
)
CASES: dict[str, tuple[dict[str, str], str]] = {
    "wrong password": ({"password": "hunter2"}, WRONG),
    "expired password": ({"user": "expired"}, WRONG),
    "password stored as MD5": ({"user": "hashed"}, WRONG),
    "no password": (
        {"password": ""},
        f"{LOGIN}the server asks for a password, see PASSWORD in DATABASES",
    ),
    "no rule": ({"user": "rejected"}, NO_RULE),
    "no client certificate": ({"user": "certified", "sslmode": "require"}, NO_RULE),
    "no encryption": ({"user": "certified", "sslmode": "disable"}, NO_RULE),
    "other method": (
        {"user": "asked_by_ident"},
        (
            f"{LOGIN}pg_hba.conf asks for a method such as LDAP, PAM or cert, which refused USER, "
            "see the server's log (SQLSTATE 28000)"
        ),
    ),
    "no LOGIN": ({"user": "nologin"}, NO_LOGIN),
    "no role": ({"user": "nobody"}, NO_LOGIN),
    "no database": (
        {"dbname": "nowhere"},
        f"{LOGIN}there is no such database, see NAME in DATABASES (SQLSTATE 3D000)",
    ),
    "closed database": (
        {"dbname": "closed"},
        (
            f"{LOGIN}the database admits no connections, ALTER DATABASE ... ALLOW_CONNECTIONS true "
            "(SQLSTATE 55000)"
        ),
    ),
    "no CONNECT": (
        {"dbname": "private"},
        (
            f"{LOGIN}the role may not connect to the database, GRANT CONNECT ON DATABASE to it "
            "(SQLSTATE 42501)"
        ),
    ),
    "role full": (
        {"user": "alone"},
        f"{LOGIN}the role has no connection left, see its CONNECTION LIMIT (SQLSTATE 53300)",
    ),
    "database full": (
        {"dbname": "busy"},
        f"{LOGIN}the database has no connection left, see its CONNECTION LIMIT (SQLSTATE 53300)",
    ),
    "no channel binding": (
        {"sslmode": "disable", "channel_binding": "require"},
        (
            "connect: the connection cannot be protected as it should be: the log-in was not "
            "bound to TLS, see channel_binding"
        ),
    ),
    "option refused": (
        {"options": "-c no_such_parameter=1"},
        (
            "connect: the server refused the connection, see OPTIONS in DATABASES and the server's "
            "log (SQLSTATE 42704)"
        ),
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    directory = open_directory()
    own = certificate(directory, "server")
    give_to_postgres(own.key)
    rules = directory / "rules"
    rules.write_text(RULES)
    settings = {
        "hba_file": str(rules),
        "ssl": "on",
        "ssl_cert_file": str(own.file),
        "ssl_key_file": str(own.key),
        "ssl_ca_file": str(own.file),
    }
    try:
        with Postgres(version=VERSION, settings=settings) as server:
            with psycopg.connect(server.url, autocommit=True) as owner:
                owner.execute(SHOP)
                for statement in DATABASES:
                    owner.execute(statement.encode())
            yield server
    finally:
        remove_directory(directory)


def test_refused_log_in_is_reported_with_its_cause(
    server: Postgres, run_isolated: RunIsolated
) -> None:
    usual = {"host": "127.0.0.1", "port": str(server.port), "user": "clerk", "password": "right"}
    cases = [usual | {"dbname": "postgres"} | changed for changed, _ in CASES.values()]
    outcomes = json.loads(run_isolated(RUN, json.dumps(cases)))
    errors = {name: error for name, [error, _] in zip(CASES, outcomes, strict=True)}
    assert errors == {name: error for name, (_, error) in CASES.items()}
    # Libpq is refused, too, so the cases are what they are meant to be.
    assert all(libpq for _error, libpq in outcomes)
