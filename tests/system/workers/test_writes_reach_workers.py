"""Every kind of write reaches other processes soon after its commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.workers import Worker, address

pytestmark = pytest.mark.django_db(transaction=True)

POLL_INTERVAL = 0.3
FLAGS = "flagstaff_featureflag"
ALLOWED = "flagstaff_featureflag_allowed_users"
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

    def copy(self, table: str, *columns: object) -> None:
        with self.session.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
            copy.write_row(columns)

    def post(self, address: str, **form: object) -> None:
        """Sends a form of the admin as a superuser."""
        client = Client()
        client.force_login(User.objects.create_superuser("boss"))
        assert client.post(address, form).status_code == 302

    def kill_in_admin(self) -> None:
        address = reverse("admin:flagstaff_featureflag_kill", args=[self.flag.pk])
        self.post(address, _confirmed="1")

    def save_in_admin(self) -> None:
        """Disables the flag: the form has no "enabled"."""
        address = reverse("admin:flagstaff_featureflag_change", args=[self.flag.pk])
        form = {"key": "new_checkout", "rollout_percent": 0, "kind": "release"}
        self.post(address, allowed_users=self.alice.pk, **form)


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
def open_session() -> Iterator[Callable[..., psycopg.Connection[Any]]]:
    sessions = []

    def open_session(*, autocommit: bool = False) -> psycopg.Connection[Any]:
        url = address(os.environ["DATABASE_URL"], connection.settings_dict["NAME"])
        sessions.append(psycopg.connect(url, autocommit=autocommit))
        return sessions[-1]

    yield open_session
    for session in sessions:
        session.close()


@pytest.fixture
def shop(transactional_db: None, open_session: Callable[..., psycopg.Connection[Any]]) -> Shop:
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    gateway = KeyValueStore.objects.create(key="payment_gateway", value="stripe")
    alice, bob = (User.objects.create(username=name) for name in ("alice", "bob"))
    flag.allowed_users.add(alice)
    return Shop(flag, gateway, alice, bob, open_session(autocommit=True))


@pytest.fixture
def workers(started_workers: Workers, shop: Shop) -> Workers:
    """Workers that have loaded the shop."""
    for worker in started_workers:
        worker.ask("refresh")
        assert worker.ask("flag_enabled", "new_checkout", shop.alice.pk) is True
        assert worker.ask("flag_enabled", "new_checkout", shop.bob.pk) is False
        assert worker.ask("get_value", "payment_gateway") == "stripe"
    return started_workers


def change(instance: Any, **values: Any) -> Any:
    for name, value in values.items():
        setattr(instance, name, value)
    return instance


Change = Callable[[Shop], object]
flags, values = FeatureFlag.objects, KeyValueStore.objects

ALICE_LOSES_THE_FLAG: dict[str, Change] = {
    "save": lambda shop: change(shop.flag, enabled=False).save(),
    "update": lambda shop: flags.update(enabled=False),
    "update_or_create": lambda shop: flags.update_or_create({"enabled": False}, key="new_checkout"),
    "bulk_update": lambda shop: flags.bulk_update([change(shop.flag, enabled=False)], ["enabled"]),
    "delete": lambda shop: shop.flag.delete(),
    "delete of a queryset": lambda shop: flags.filter(key="new_checkout").delete(),
    "remove": lambda shop: shop.flag.allowed_users.remove(shop.alice),
    "remove from the user": lambda shop: shop.alice.flagstaff_flags.remove(shop.flag),
    "set": lambda shop: shop.flag.allowed_users.set([shop.bob]),
    "set from the user": lambda shop: shop.alice.flagstaff_flags.set([]),
    "clear": lambda shop: shop.flag.allowed_users.clear(),
    "clear from the user": lambda shop: shop.alice.flagstaff_flags.clear(),
    "deletion of the user": lambda shop: shop.alice.delete(),
    "kill in the admin": Shop.kill_in_admin,
    "form in the admin": Shop.save_in_admin,
    "UPDATE": lambda shop: shop.sql(f"UPDATE {FLAGS} SET enabled = false"),
    "UPDATE of the key": lambda shop: shop.sql(f"UPDATE {FLAGS} SET key = 'checkout'"),
    "DELETE": lambda shop: shop.sql(f"DELETE FROM {ALLOWED}"),
    "TRUNCATE": lambda shop: shop.sql(f"TRUNCATE {ALLOWED}"),
    "TRUNCATE CASCADE": lambda shop: shop.sql(f"TRUNCATE {FLAGS} CASCADE"),
    "ON CONFLICT": lambda shop: shop.sql(
        f"INSERT INTO {FLAGS} (key) VALUES ('new_checkout') "
        "ON CONFLICT (key) DO UPDATE SET enabled = excluded.enabled"
    ),
}

BOB_GAINS_THE_FLAG: dict[str, Change] = {
    "update": lambda shop: flags.update(rollout_percent=100),
    "add": lambda shop: shop.flag.allowed_users.add(shop.bob),
    "add from the user": lambda shop: shop.bob.flagstaff_flags.add(shop.flag),
    "set": lambda shop: shop.flag.allowed_users.set([shop.bob]),
    "set from the user": lambda shop: shop.bob.flagstaff_flags.set([shop.flag]),
    "INSERT": lambda shop: shop.sql(
        f"INSERT INTO {ALLOWED} (featureflag_id, user_id) VALUES (%s, %s)",
        *(shop.flag.pk, shop.bob.pk),
    ),
    "COPY": lambda shop: shop.copy(
        f"{ALLOWED} (featureflag_id, user_id)", shop.flag.pk, shop.bob.pk
    ),
}

BANNER = {"key": "banner", "enabled": True, "rollout_percent": 100}
INSERT_BANNER = f"INSERT INTO {FLAGS} (key, enabled, rollout_percent) VALUES ('banner', true, 100)"

THE_BANNER_APPEARS: dict[str, Change] = {
    "create": lambda shop: flags.create(**BANNER),
    "get_or_create": lambda shop: flags.get_or_create(BANNER, key="banner"),
    "bulk_create": lambda shop: flags.bulk_create([FeatureFlag(**BANNER)]),
    "rename": lambda shop: change(shop.flag, **BANNER).save(),
    "INSERT": lambda shop: shop.sql(INSERT_BANNER),
    "ON CONFLICT": lambda shop: shop.sql(f"{INSERT_BANNER} ON CONFLICT DO NOTHING"),
    "COPY": lambda shop: shop.copy(f"{FLAGS} (key, enabled, rollout_percent)", *BANNER.values()),
}

INSERT_PAYPAL = f"INSERT INTO {VALUES} (key, value) VALUES ('payment_gateway', '\"paypal\"')"

THE_GATEWAY_BECOMES_PAYPAL: dict[str, Change] = {
    "save": lambda shop: change(shop.gateway, value="paypal").save(),
    "update": lambda shop: values.update(value="paypal"),
    "bulk_update": lambda shop: values.bulk_update(
        [change(shop.gateway, value="paypal")], ["value"]
    ),
    "UPDATE": lambda shop: shop.sql(f"UPDATE {VALUES} SET value = '\"paypal\"'"),
    "TRUNCATE and INSERT": lambda shop: shop.sql(f"TRUNCATE {VALUES}; {INSERT_PAYPAL}"),
    "DELETE and INSERT": lambda shop: shop.sql(f"DELETE FROM {VALUES}; {INSERT_PAYPAL}"),
    "ON CONFLICT": lambda shop: shop.sql(
        f"{INSERT_PAYPAL} ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    ),
}

THE_GATEWAY_DISAPPEARS: dict[str, Change] = {
    "delete": lambda shop: shop.gateway.delete(),
    "rename": lambda shop: values.update(key="gateway"),
    "DELETE": lambda shop: shop.sql(f"DELETE FROM {VALUES}"),
    "TRUNCATE": lambda shop: shop.sql(f"TRUNCATE {VALUES}"),
}


@pytest.mark.parametrize("write", ALICE_LOSES_THE_FLAG.values(), ids=ALICE_LOSES_THE_FLAG)
def test_removed_user_loses_the_flag_in_every_worker(
    write: Change, shop: Shop, workers: Workers
) -> None:
    alice = shop.alice.pk
    write(shop)
    workers.see(False, "flag_enabled", "new_checkout", alice)


@pytest.mark.parametrize("write", BOB_GAINS_THE_FLAG.values(), ids=BOB_GAINS_THE_FLAG)
def test_added_user_gains_the_flag_in_every_worker(
    write: Change, shop: Shop, workers: Workers
) -> None:
    write(shop)
    workers.see(True, "flag_enabled", "new_checkout", shop.bob.pk)


@pytest.mark.parametrize("write", THE_BANNER_APPEARS.values(), ids=THE_BANNER_APPEARS)
def test_new_flag_reaches_every_worker(write: Change, shop: Shop, workers: Workers) -> None:
    write(shop)
    workers.see(True, "flag_enabled", "banner")


@pytest.mark.parametrize(
    "write", THE_GATEWAY_BECOMES_PAYPAL.values(), ids=THE_GATEWAY_BECOMES_PAYPAL
)
def test_changed_value_reaches_every_worker(write: Change, shop: Shop, workers: Workers) -> None:
    write(shop)
    workers.see("paypal", "get_value", "payment_gateway")


@pytest.mark.parametrize("write", THE_GATEWAY_DISAPPEARS.values(), ids=THE_GATEWAY_DISAPPEARS)
def test_deleted_value_disappears_from_every_worker(
    write: Change, shop: Shop, workers: Workers
) -> None:
    write(shop)
    workers.see("none", "get_value", "payment_gateway", "none")


def test_rolled_back_change_reaches_no_worker(shop: Shop, workers: Workers) -> None:
    for worker in workers:
        worker.ask("watch", ["flag_enabled", "new_checkout", shop.bob.pk])
    with transaction.atomic():
        flags.update(rollout_percent=100)
        transaction.set_rollback(True)
    values.update(value="paypal")
    workers.see("paypal", "get_value", "payment_gateway")
    assert [worker.ask("watched") for worker in workers] == [[False], [False]]


def test_rolled_back_savepoint_reaches_no_worker(shop: Shop, workers: Workers) -> None:
    with transaction.atomic():
        values.update(value="paypal")
        with transaction.atomic():
            flags.update(rollout_percent=100)
            transaction.set_rollback(True)
    workers.see("paypal", "get_value", "payment_gateway")
    for worker in workers:
        assert worker.ask("flag_enabled", "new_checkout", shop.bob.pk) is False


def test_open_transaction_reaches_workers_after_its_commit(shop: Shop, workers: Workers) -> None:
    with transaction.atomic():
        flags.update(rollout_percent=100)
        for worker in workers:
            worker.ask("refresh")
            assert worker.ask("flag_enabled", "new_checkout", shop.bob.pk) is False
    workers.see(True, "flag_enabled", "new_checkout", shop.bob.pk)


def test_transactions_that_commit_out_of_order_both_reach_workers(
    shop: Shop, open_session: Callable[..., psycopg.Connection[Any]]
) -> None:
    """The first writer commits last, 50 times, without notifications."""
    first, second = open_session(), open_session()
    url = address(os.environ["DATABASE_URL"], connection.settings_dict["NAME"])
    write = (
        f"INSERT INTO {VALUES} (key, value) VALUES (%s, %s) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    )
    with Worker(url, LISTEN=False, POLL_INTERVAL=0.1) as worker:
        for turn in range(50):
            first.execute(write, ["first", str(turn)])
            second.execute(write, ["second", str(turn)])
            second.commit()
            worker.ask("refresh")
            assert worker.ask("get_value", "second") == turn
            first.commit()
            worker.sees(["get_value", "first"], turn, within=1.1)


def test_truncate_and_insert_is_never_seen_half_done(shop: Shop, workers: Workers) -> None:
    """TRUNCATE empties a table also for readers that began before it."""
    worker, alice = workers.listening, shop.alice.pk
    loads = worker.ask("status")["loads"]
    worker.ask("watch", ["flag_enabled", "new_checkout", alice])
    worker.ask("reload_constantly")
    for _ in range(60):
        with closing(connection.cursor()) as cursor, transaction.atomic():
            cursor.execute(f"TRUNCATE {FLAGS} CASCADE")
            # Long enough for a load to take its snapshot before the commit.
            cursor.execute("SELECT pg_sleep(0.01)")
            flags.create(pk=shop.flag.pk, key="new_checkout", enabled=True)
            shop.flag.allowed_users.add(alice)
    assert worker.ask("watched") == [True]
    assert worker.ask("status")["loads"] > loads + 30
