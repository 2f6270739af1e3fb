"""Variants are the same in every process."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tests.support.workers import Worker

pytestmark = pytest.mark.django_db
KEY = "checkout_button"


def bucket(unit: str, run: int = 0) -> int:
    digest = sha256(f"experiment:{KEY}:{run}:{unit}".encode()).hexdigest()
    return int(digest, 16) % 10_000


def expected(unit: str) -> str:
    return "control" if bucket(unit) < 5000 else "treatment"


def test_variants_are_the_same_after_a_restart(database: str) -> None:
    with Worker(database) as creator:
        creator.ask("call", "tests.support.exposing.create_running")
    for _ in range(2):
        with Worker(database) as worker:
            assert worker.ask("ready", 10) is True
            found = worker.ask("call", "tests.support.exposing.variants", 10_000)
        assert found == [expected(str(unit)) for unit in range(10_000)]
