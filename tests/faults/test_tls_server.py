"""Real servers with TLS: who the server is, who we are, and what a password is bound to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.certificates import Certificate, authority, certificate
from tests.workers import Worker
from tools.postgres import Postgres
from tools.postgres_account import hand_over, open_directory, remove_directory

GATEWAY = ["get_value", "gateway"]
#: Which of the servers here can encrypt.
VERSION = 17


@pytest.fixture(scope="module")
def papers(module_directory: Path) -> dict[str, Certificate]:
    ours = authority(module_directory, "ours")
    return {
        "ours": ours,
        "others": authority(module_directory, "others"),
        "server": certificate(module_directory, "server", ours),
        "shop": certificate(module_directory, "shop", ours),
    }


@pytest.fixture(scope="module")
def module_directory() -> Iterator[Path]:
    directory = open_directory()
    yield directory
    remove_directory(directory)


@pytest.fixture(scope="module")
def address(papers: dict[str, Certificate], module_directory: Path) -> Iterator[str]:
    """A server with a value, that takes passwords and certificates, and those over TLS only."""
    log_ins = module_directory / "hba"
    log_ins.write_text(
        "hostssl all shop all cert\n"
        "hostssl all desk all scram-sha-256\n"
        "host all postgres 127.0.0.1/32 trust\n"
    )
    hand_over(papers["server"].key)
    settings = {
        "hba_file": str(log_ins),
        "ssl": "on",
        "ssl_cert_file": str(papers["server"].file),
        "ssl_key_file": str(papers["server"].key),
        "ssl_ca_file": str(papers["ours"].file),
    }
    with Postgres(version=VERSION, settings=settings) as server:
        with Worker(server.url) as first:
            first.ask("migrate")
        with psycopg.connect(server.url, autocommit=True) as owner:
            owner.execute("CREATE ROLE shop LOGIN SUPERUSER PASSWORD 'correct horse'")
            owner.execute("CREATE ROLE desk LOGIN SUPERUSER PASSWORD 'battery staple'")
            owner.execute(
                "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('gateway', '\"stripe\"')"
            )
        yield server.url


def asked(url: str) -> dict[str, Any]:
    """What a worker says of itself that connects so, after it was asked and has reloaded."""
    with Worker(url, STARTUP_TIMEOUT=10) as worker:
        worker.ask(*GATEWAY)
        status: dict[str, Any] = worker.ask("status")
        assert status["ready"], status
        worker.ask("refresh")
        assert worker.ask(*GATEWAY) == "stripe"
        return status


def refused(url: str) -> dict[str, Any]:
    """What a worker says of itself after its first try to connect, which fails."""
    with Worker(url, STARTUP_TIMEOUT=0.1) as worker:
        worker.ask(*GATEWAY)
        worker.sees(["failed", 1], True, within=10)
        return dict(worker.ask("status"))


@pytest.mark.parametrize("sslmode", ["prefer", "require", "verify-ca", "verify-full"])
def test_encrypted_worker_listens(
    sslmode: str, address: str, papers: dict[str, Certificate]
) -> None:
    url = make_conninfo(
        address, sslmode=sslmode, sslrootcert=str(papers["ours"].file), host="localhost"
    )
    assert asked(url)["mode"] == "live"


def test_server_of_an_unknown_authority_is_refused(
    address: str, papers: dict[str, Certificate]
) -> None:
    url = make_conninfo(address, sslmode="verify-full", sslrootcert=str(papers["others"].file))
    status = refused(url)
    assert not status["ready"]
    assert "cannot be protected" in status["last_error"]


def test_client_certificate_logs_in(address: str, papers: dict[str, Certificate]) -> None:
    shop = papers["shop"]
    with_paper = make_conninfo(
        address, user="shop", sslmode="require", sslcert=str(shop.file), sslkey=str(shop.key)
    )
    assert asked(with_paper)["mode"] == "live"


def test_without_its_client_certificate_a_role_is_refused(address: str) -> None:
    status = refused(make_conninfo(address, user="shop", sslmode="require"))
    assert not status["ready"]
    assert "log-in was refused" in status["last_error"]


@pytest.mark.parametrize("binding", ["disable", "prefer", "require"])
def test_password_is_bound_to_the_channel(binding: str, address: str) -> None:
    url = make_conninfo(address, user="desk", password="battery staple", sslmode="require")
    assert asked(make_conninfo(url, channel_binding=binding))["mode"] == "live"


def test_password_alone_opens_no_unencrypted_connection(address: str) -> None:
    url = make_conninfo(address, user="desk", password="battery staple", sslmode="disable")
    status = refused(url)
    assert not status["ready"]
    assert "battery" not in status["last_error"]
