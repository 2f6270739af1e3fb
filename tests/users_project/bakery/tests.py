"""What a user's tests may expect of flags: that they are rows like any other."""

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


def switch_on(key: str) -> FeatureFlag:
    return FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100)


class TestsInATransaction(TestCase):
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

    def test_test_data_are_seen(self) -> None:
        self.assertIs(flag_enabled("new_checkout", self.alice), True)
        self.assertIs(flag_enabled("new_checkout", self.bob), False)
        self.assertEqual(get_value("gateway"), "paypal")
        self.assertEqual(explain("new_checkout", self.alice).reason, "TARGETING_MATCH")

    def test_each_change_is_seen_by_the_next_question(self) -> None:
        FeatureFlag.objects.update(rollout_percent=100)
        self.assertIs(flag_enabled("new_checkout", self.bob), True)
        self.flag.allowed_users.clear()
        FeatureFlag.objects.update(rollout_percent=0)
        self.assertIs(flag_enabled("new_checkout", self.alice), False)
        KeyValueStore.objects.all().delete()
        self.assertIsNone(get_value("gateway"))

    def test_flag_of_one_test_is_gone_in_the_next(self) -> None:
        self.assertIs(flag_enabled("banner"), False)
        switch_on("banner")
        self.assertIs(flag_enabled("banner"), True)

    test_flag_of_one_test_is_gone_in_the_other = test_flag_of_one_test_is_gone_in_the_next

    def test_flag_is_gone_after_the_rollback_of_a_savepoint(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            switch_on("banner")
            self.assertIs(flag_enabled("banner"), True)
            raise ZeroDivisionError
        self.assertIs(flag_enabled("banner"), False)

    def test_questions_are_not_counted_as_queries(self) -> None:
        with self.assertNumQueries(0):
            flag_enabled("new_checkout", self.alice)
            get_value("gateway")
            explain("new_checkout", self.bob)

    def test_view_answers_its_user(self) -> None:
        self.client.force_login(self.alice)
        self.assertContains(self.client.get("/checkout/"), "new checkout, paid through paypal")
        self.client.force_login(self.bob)
        self.assertContains(self.client.get("/checkout/"), "old checkout")

    def test_failed_transaction_is_made_no_worse(self) -> None:
        with transaction.atomic():
            with self.assertRaises(IntegrityError):
                FeatureFlag.objects.create(key="new_checkout")
            self.assertIs(flag_enabled("new_checkout", self.alice, default=True), True)
            self.assertIn(get_value("gateway", "paypal"), "paypal")
            transaction.set_rollback(True)
        self.assertEqual(User.objects.count(), 2)
        self.assertIs(flag_enabled("new_checkout", self.alice), True)

    def test_missing_table_leaves_the_transaction_whole(self) -> None:
        connection.check_constraints()
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE flagstaff_featureflag_allowed_users")
            cursor.execute("DROP TABLE flagstaff_featureflag")
        self.assertIs(flag_enabled("new_checkout", self.alice, default=True), True)
        self.assertEqual(explain("new_checkout").error_code, "PROVIDER_NOT_READY")
        self.assertEqual(User.objects.count(), 2)

    def test_missing_allow_list_leaves_the_transaction_whole(self) -> None:
        connection.check_constraints()
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE flagstaff_featureflag_allowed_users")
        self.assertIs(flag_enabled("new_checkout", self.alice, default=True), True)
        self.assertEqual(explain("new_checkout", self.alice).error_code, "PROVIDER_NOT_READY")
        self.assertEqual(User.objects.count(), 2)

    def test_key_that_is_too_large_for_a_user_is_on_no_list(self) -> None:
        self.assertEqual(explain("new_checkout", 2**63).reason, "SPLIT")
        self.assertEqual(explain("new_checkout", str(2**63)).reason, "SPLIT")

    def skip_in_memory(self) -> None:
        """Leave out what Django cannot do: a connection that meets a lock is left open there."""
        if getattr(connection, "is_in_memory_db", bool)():
            self.skipTest("no second connection beside a transaction of SQLite in memory")

    def test_question_in_another_thread_sees_what_is_committed(self) -> None:
        self.skip_in_memory()
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(flag_enabled, ["new_checkout"] * 4, [self.alice] * 4))
        self.assertEqual(answers, [False] * 4)
        self.assertIs(flag_enabled("new_checkout", self.alice), True)

    def test_status_says_that_the_database_answers(self) -> None:
        self.assertIs(flag_enabled("new_checkout"), False)
        self.assertEqual(status().mode, "direct")
        self.assertIs(ready(), True)
        refresh()

    async def test_question_in_an_event_loop_sees_the_flags_of_the_test(self) -> None:
        self.assertIs(flag_enabled("new_checkout", self.alice), True)
        self.assertEqual(get_value("gateway"), "paypal")
        await FeatureFlag.objects.acreate(key="banner", enabled=True, rollout_percent=100)
        self.assertIs(flag_enabled("banner"), True)

    async def test_question_of_a_task_sees_the_flags_of_the_test(self) -> None:
        async def ask() -> bool:
            return flag_enabled("new_checkout", self.alice)

        self.assertEqual(await asyncio.gather(*[ask() for _ in range(4)]), [True] * 4)

    async def test_question_through_sync_to_async_sees_the_flags_of_the_test(self) -> None:
        self.assertIs(await sync_to_async(flag_enabled)("new_checkout", self.alice), True)

    async def test_question_in_a_thread_of_the_loop_sees_what_is_committed(self) -> None:
        self.skip_in_memory()
        answer = await asyncio.to_thread(flag_enabled, "new_checkout", self.alice)
        self.assertIs(answer, False)

    async def test_async_views_answer_their_user(self) -> None:
        await self.async_client.aforce_login(self.alice)
        for address in ("/checkout/", "/checkout/async/", "/new-only/"):
            response = await self.async_client.get(address)
            self.assertContains(response, "new checkout")

    async def test_async_view_is_not_found_by_others(self) -> None:
        await self.async_client.aforce_login(self.bob)
        self.assertEqual((await self.async_client.get("/new-only/")).status_code, 404)


class TestsThatCommit(TransactionTestCase):
    def test_flag_is_seen_by_the_next_question(self) -> None:
        self.assertIs(flag_enabled("banner"), False)
        switch_on("banner")
        self.assertIs(flag_enabled("banner"), True)

    test_flag_of_one_test_is_gone_in_the_other = test_flag_is_seen_by_the_next_question

    def test_flag_is_gone_after_a_rollback(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            switch_on("banner")
            self.assertIs(flag_enabled("banner"), True)
            raise ZeroDivisionError
        self.assertIs(flag_enabled("banner"), False)

    def test_question_in_another_thread_sees_the_flag(self) -> None:
        switch_on("banner")
        with ThreadPoolExecutor(2) as pool:
            self.assertEqual(list(pool.map(flag_enabled, ["banner"] * 4)), [True] * 4)

    async def test_question_in_an_event_loop_sees_the_flag(self) -> None:
        await FeatureFlag.objects.acreate(key="banner", enabled=True, rollout_percent=100)
        self.assertIs(flag_enabled("banner"), True)
        self.assertIs(await asyncio.to_thread(flag_enabled, "banner"), True)

    @skipUnless(ON_POSTGRES, "only there an engine answers")
    def test_engine_answers_while_it_is_asked_for(self) -> None:
        switch_on("banner")
        with live_engine():
            self.assertIs(flag_enabled("banner"), True)
            self.assertNotEqual(status().mode, "direct")
        self.assertIs(flag_enabled("banner"), True)
        self.assertEqual(status().mode, "direct")


class TestsWithoutADatabase(SimpleTestCase):
    def test_questions_give_their_defaults(self) -> None:
        self.assertIs(flag_enabled("new_checkout"), False)
        self.assertIs(flag_enabled("new_checkout", 42, default=True), True)
        self.assertEqual(get_value("gateway", "stripe"), "stripe")
        self.assertEqual(explain("new_checkout", 42).error_code, "PROVIDER_NOT_READY")

    def test_view_gives_the_defaults(self) -> None:
        self.assertContains(self.client.get("/checkout/"), "old checkout, paid through stripe")

    async def test_questions_in_an_event_loop_give_their_defaults(self) -> None:
        self.assertIs(flag_enabled("new_checkout", default=True), True)

    def test_questions_in_another_thread_give_their_defaults(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            self.assertIs(pool.submit(flag_enabled, "new_checkout", default=True).result(), True)


class TestsThroughAServer(LiveServerTestCase):
    def checkout(self) -> str:
        with urlopen(f"{self.live_server_url}/checkout/") as response:
            return str(response.read().decode())

    def test_page_follows_the_flag(self) -> None:
        self.assertEqual(self.checkout(), "old checkout, paid through stripe")
        switch_on("new_checkout")
        self.assertEqual(self.checkout(), "new checkout, paid through stripe")
