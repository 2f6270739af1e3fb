"""Every kind of write reaches other processes soon after its commit."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.sql import rolled_back
from tests.support.workers import Worker, address

pytestmark = pytest.mark.django_db(transaction=True)

POLL_INTERVAL = 0.3
FLAGS = "flagstaff_featureflag"
VALUES = "flagstaff_keyvaluestore"


@dataclass
class Shop:
    """A flag with the allowed user alice, without bob, and a value."""

    flag: FeatureFlag
    gateway: KeyValueStore
    alice: User
    bob: User
    session: psycopg.Connection[Any]

    def sql(self, statement: str, *parameters: object) -> None:
        """Runs SQL over another connection, as psql does."""
        self.session.execute(statement, parameters)


@dataclass
class Workers:
    """A worker that only listens (its polls are rare), and one that only polls."""

    listening: Worker
    polling: Worker

    def __iter__(self) -> Iterator[Worker]:
        return iter((self.listening, self.polling))

    def see(self, result: Any, *call: Any) -> None:
        self.listening.sees([*call], result, within=1.0)
        self.polling.sees([*call], result, within=POLL_INTERVAL + 1.0)


@pytest.fixture(scope="module")
def started_workers(django_db_setup: None) -> Iterator[Workers]:
    url = address(os.environ["DATABASE_URL"], connection.settings_dict["NAME"])
    with (
        Worker(url, POLL_INTERVAL=60) as listening,
        Worker(url, LISTEN=False, POLL_INTERVAL=POLL_INTERVAL) as polling,
    ):
        yield Workers(listening, polling)


@pytest.fixture
def shop(transactional_db: None) -> Iterator[Shop]:
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    gateway = KeyValueStore.objects.create(key="payment_gateway", value="stripe")
    alice, bob = (User.objects.create(username=name) for name in ("alice", "bob"))
    flag.allowed_users.add(alice)
    url = address(os.environ["DATABASE_URL"], connection.settings_dict["NAME"])
    with psycopg.connect(url, autocommit=True) as session:
        yield Shop(flag, gateway, alice, bob, session)


@pytest.fixture
def workers(started_workers: Workers, shop: Shop) -> Workers:
    """Workers that have loaded the shop."""
    for worker in started_workers:
        worker.ask("refresh")
        assert worker.ask("flag_enabled", "new_checkout", shop.alice.pk) is True
        assert worker.ask("flag_enabled", "new_checkout", shop.bob.pk) is False
        assert worker.ask("get_value", "payment_gateway") == "stripe"
    return started_workers


@dataclass
class Write:
    """A write, and a call of a worker with its result after the write."""

    run: Callable[[Shop], object]
    result: Any
    call: list[Any]


flags, values = FeatureFlag.objects, KeyValueStore.objects
BANNER = {"key": "banner", "enabled": True, "rollout_percent": 100}
OF_ALICE = ["flag_enabled", "new_checkout", "alice"]
OF_BOB = ["flag_enabled", "new_checkout", "bob"]
OF_BANNER = ["flag_enabled", "banner"]
OF_GATEWAY = ["get_value", "payment_gateway", "none"]
# tests/database/sql/test_tokens.py has all kinds of writes: each leaves a token.
WRITES = {
    "update": Write(lambda shop: flags.update(enabled=False), False, OF_ALICE),
    "delete": Write(lambda shop: shop.flag.delete(), False, OF_ALICE),
    "remove": Write(lambda shop: shop.flag.allowed_users.remove(shop.alice), False, OF_ALICE),
    "deletion of the user": Write(lambda shop: shop.alice.delete(), False, OF_ALICE),
    "TRUNCATE CASCADE": Write(lambda shop: shop.sql(f"TRUNCATE {FLAGS} CASCADE"), False, OF_ALICE),
    "set from the user": Write(
        lambda shop: shop.bob.flagstaff_flags.set([shop.flag]), True, OF_BOB
    ),
    "create": Write(lambda shop: flags.create(**BANNER), True, OF_BANNER),
    "rename": Write(lambda shop: flags.update(**BANNER), True, OF_BANNER),
    "update of a value": Write(lambda shop: values.update(value="paypal"), "paypal", OF_GATEWAY),
    "TRUNCATE of values": Write(lambda shop: shop.sql(f"TRUNCATE {VALUES}"), "none", OF_GATEWAY),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_write_reaches_every_worker(write: Write, shop: Shop, workers: Workers) -> None:
    pks = {"alice": shop.alice.pk, "bob": shop.bob.pk}
    write.run(shop)
    workers.see(write.result, *(pks.get(argument, argument) for argument in write.call))


def test_rolled_back_change_reaches_no_worker(shop: Shop, workers: Workers) -> None:
    for worker in workers:
        worker.ask("watch", ["flag_enabled", "new_checkout", shop.bob.pk])
    with rolled_back():
        flags.update(rollout_percent=100)
    with transaction.atomic():
        values.update(value="paypal")
        # A savepoint.
        with rolled_back():
            flags.update(rollout_percent=100)
    workers.see("paypal", "get_value", "payment_gateway")
    assert [worker.ask("watched") for worker in workers] == [[False], [False]]


def test_open_transaction_reaches_workers_after_its_commit(shop: Shop, workers: Workers) -> None:
    with transaction.atomic():
        flags.update(rollout_percent=100)
        for worker in workers:
            worker.ask("refresh")
            assert worker.ask("flag_enabled", "new_checkout", shop.bob.pk) is False
    workers.see(True, "flag_enabled", "new_checkout", shop.bob.pk)
