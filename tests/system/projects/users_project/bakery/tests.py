"""Tests of a project: flags behave like other rows of the test database."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from unittest import skipUnless
from urllib.request import urlopen

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import LiveServerTestCase, SimpleTestCase, TestCase, TransactionTestCase

from flagstaff import explain, flag_enabled, get_value, ready, refresh, status
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine

ON_POSTGRES = connection.vendor == "postgresql"


def create_enabled(key: str) -> FeatureFlag:
    return FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100)


class TransactionTests(TestCase):
    alice: User
    bob: User
    flag: FeatureFlag

    @classmethod
    def setUpTestData(cls) -> None:
        cls.alice = User.objects.create_user("alice")
        cls.bob = User.objects.create_user("bob")
        cls.flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
        cls.flag.allowed_users.add(cls.alice)
        KeyValueStore.objects.create(key="gateway", value="paypal")

    def test_test_data_are_visible(self) -> None:
        self.assertIs(flag_enabled("new_checkout", self.alice), True)
        self.assertIs(flag_enabled("new_checkout", self.bob), False)
        self.assertEqual(get_value("gateway"), "paypal")
        self.assertEqual(explain("new_checkout", self.alice).reason, "TARGETING_MATCH")
        # No column can hold this key.
        self.assertEqual(explain("new_checkout", 2**63).reason, "SPLIT")

    def test_change_is_visible_to_next_evaluation(self) -> None:
        FeatureFlag.objects.update(rollout_percent=100)
        self.assertIs(flag_enabled("new_checkout", self.bob), True)
        self.flag.allowed_users.clear()
        FeatureFlag.objects.update(rollout_percent=0)
        self.assertIs(flag_enabled("new_checkout", self.alice), False)
        KeyValueStore.objects.all().delete()
        self.assertIsNone(get_value("gateway"))

    def test_flag_is_gone_in_next_test(self) -> None:
        self.assertIs(flag_enabled("banner"), False)
        create_enabled("banner")
        self.assertIs(flag_enabled("banner"), True)

    test_flag_is_gone_in_next_test_again = test_flag_is_gone_in_next_test

    def test_flag_is_gone_after_rollback_of_savepoint(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            create_enabled("banner")
            self.assertIs(flag_enabled("banner"), True)
            raise ZeroDivisionError
        self.assertIs(flag_enabled("banner"), False)

    def test_evaluations_do_not_count_as_queries(self) -> None:
        with self.assertNumQueries(0):
            flag_enabled("new_checkout", self.alice)
            get_value("gateway")
            explain("new_checkout", self.bob)

    def test_view_depends_on_user(self) -> None:
        self.client.force_login(self.alice)
        self.assertContains(self.client.get("/checkout/"), "new checkout, paid through paypal")
        self.client.force_login(self.bob)
        self.assertContains(self.client.get("/checkout/"), "old checkout")

    def test_failed_transaction_stays_usable_after_rollback(self) -> None:
        with transaction.atomic():
            with self.assertRaises(IntegrityError):
                FeatureFlag.objects.create(key="new_checkout")
            self.assertIs(flag_enabled("new_checkout", self.alice, default=True), True)
            self.assertIn(get_value("gateway", "paypal"), "paypal")
            transaction.set_rollback(True)
        self.assertEqual(User.objects.count(), 2)
        self.assertIs(flag_enabled("new_checkout", self.alice), True)

    def test_missing_table_does_not_break_transaction(self) -> None:
        connection.check_constraints()
        for table in ("flagstaff_featureflag_allowed_users", "flagstaff_featureflag"):
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TABLE {table}")
            self.assertIs(flag_enabled("new_checkout", self.alice, default=True), True)
            self.assertEqual(explain("new_checkout", self.alice).error_code, "PROVIDER_NOT_READY")
            self.assertEqual(User.objects.count(), 2)

    def skip_in_memory(self) -> None:
        """Skips on SQLite in memory: Django leaves a connection that meets a lock open."""
        if getattr(connection, "is_in_memory_db", bool)():
            self.skipTest("SQLite in memory allows no second connection during a transaction")

    def test_evaluation_in_thread_sees_committed_rows_only(self) -> None:
        self.skip_in_memory()
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(flag_enabled, ["new_checkout"] * 4, [self.alice] * 4))
        self.assertEqual(results, [False] * 4)
        self.assertIs(flag_enabled("new_checkout", self.alice), True)

    def test_status_is_direct(self) -> None:
        self.assertIs(flag_enabled("new_checkout"), False)
        self.assertEqual(status().mode, "direct")
        self.assertIs(ready(), True)
        refresh()

    async def test_evaluation_in_event_loop_sees_test_data(self) -> None:
        self.assertIs(flag_enabled("new_checkout", self.alice), True)
        self.assertEqual(get_value("gateway"), "paypal")
        await FeatureFlag.objects.acreate(key="banner", enabled=True, rollout_percent=100)
        self.assertIs(flag_enabled("banner"), True)

        async def evaluate() -> bool:
            return flag_enabled("new_checkout", self.alice)

        self.assertEqual(await asyncio.gather(*[evaluate() for _ in range(4)]), [True] * 4)
        self.assertIs(await sync_to_async(flag_enabled)("new_checkout", self.alice), True)

    async def test_evaluation_in_to_thread_sees_committed_rows_only(self) -> None:
        self.skip_in_memory()
        result = await asyncio.to_thread(flag_enabled, "new_checkout", self.alice)
        self.assertIs(result, False)

    async def test_async_views_depend_on_user(self) -> None:
        await self.async_client.aforce_login(self.alice)
        for url in ("/checkout/", "/checkout/async/", "/new-only/"):
            response = await self.async_client.get(url)
            self.assertContains(response, "new checkout")
        await self.async_client.aforce_login(self.bob)
        self.assertEqual((await self.async_client.get("/new-only/")).status_code, 404)


class CommittingTests(TransactionTestCase):
    def test_flag_is_visible_to_next_evaluation(self) -> None:
        self.assertIs(flag_enabled("banner"), False)
        create_enabled("banner")
        self.assertIs(flag_enabled("banner"), True)

    test_flag_is_gone_in_next_test_again = test_flag_is_visible_to_next_evaluation

    def test_flag_is_gone_after_rollback(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            create_enabled("banner")
            self.assertIs(flag_enabled("banner"), True)
            raise ZeroDivisionError
        self.assertIs(flag_enabled("banner"), False)

    def test_evaluation_in_thread_sees_flag(self) -> None:
        create_enabled("banner")
        with ThreadPoolExecutor(2) as pool:
            self.assertEqual(list(pool.map(flag_enabled, ["banner"] * 4)), [True] * 4)

    async def test_evaluation_in_event_loop_sees_flag(self) -> None:
        await FeatureFlag.objects.acreate(key="banner", enabled=True, rollout_percent=100)
        self.assertIs(flag_enabled("banner"), True)
        self.assertIs(await asyncio.to_thread(flag_enabled, "banner"), True)

    @skipUnless(ON_POSTGRES, "needs PostgreSQL")
    def test_live_engine_evaluates_from_memory(self) -> None:
        create_enabled("banner")
        with live_engine():
            self.assertIs(flag_enabled("banner"), True)
            self.assertNotEqual(status().mode, "direct")
        self.assertIs(flag_enabled("banner"), True)
        self.assertEqual(status().mode, "direct")


class DatabaseFreeTests(SimpleTestCase):
    def test_evaluations_return_defaults(self) -> None:
        self.assertIs(flag_enabled("new_checkout"), False)
        self.assertIs(flag_enabled("new_checkout", 42, default=True), True)
        self.assertEqual(get_value("gateway", "stripe"), "stripe")
        self.assertEqual(explain("new_checkout", 42).error_code, "PROVIDER_NOT_READY")

    def test_view_uses_defaults(self) -> None:
        self.assertContains(self.client.get("/checkout/"), "old checkout, paid through stripe")

    async def test_evaluation_in_event_loop_returns_default(self) -> None:
        self.assertIs(flag_enabled("new_checkout", default=True), True)

    def test_evaluation_in_thread_returns_default(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            self.assertIs(pool.submit(flag_enabled, "new_checkout", default=True).result(), True)


class ServerTests(LiveServerTestCase):
    def checkout(self) -> str:
        with urlopen(f"{self.live_server_url}/checkout/") as response:
            return str(response.read().decode())

    def test_page_depends_on_flag(self) -> None:
        self.assertEqual(self.checkout(), "old checkout, paid through stripe")
        create_enabled("new_checkout")
        self.assertEqual(self.checkout(), "new checkout, paid through stripe")
