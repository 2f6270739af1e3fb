from django.contrib.auth import get_user_model
from django.test import TestCase, TransactionTestCase

from common.flags import flag_enabled
from common.models import FeatureFlag, KeyValueStore
from common.values import get_value

User = get_user_model()


class FlagTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.users = [User.objects.create_user(f"user{number}") for number in range(50)]
        cls.alice, cls.bob = cls.users[:2]
        cls.flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)

    def test_unknown_flag_is_off(self):
        self.assertIs(flag_enabled("unknown", self.alice), False)

    def test_new_flag_is_on_for_no_user(self):
        self.assertFalse(any(flag_enabled("new_checkout", user) for user in self.users))

    def test_only_allowed_user_has_it(self):
        self.flag.allowed_users.add(self.alice)
        self.assertIs(flag_enabled("new_checkout", self.alice), True)
        self.assertIs(flag_enabled("new_checkout", self.bob), False)

    def test_disabled_flag_is_off_for_allowed_users_too(self):
        self.flag.allowed_users.add(self.alice)
        FeatureFlag.objects.update(enabled=False)
        self.assertIs(flag_enabled("new_checkout", self.alice), False)

    def test_half_of_the_users_stay_in_it_as_it_grows(self):
        had = set()
        for percent in (0, 25, 50, 75, 100):
            FeatureFlag.objects.update(rollout_percent=percent)
            have = {user.pk for user in self.users if flag_enabled("new_checkout", user)}
            self.assertLessEqual(had, have)
            had = have
        self.assertEqual(len(had), 50)

    def test_rollout_needs_a_user_until_it_is_for_all(self):
        FeatureFlag.objects.update(rollout_percent=99)
        self.assertIs(flag_enabled("new_checkout"), False)
        FeatureFlag.objects.update(rollout_percent=100)
        self.assertIs(flag_enabled("new_checkout"), True)

    def test_flag_can_be_deleted(self):
        FeatureFlag.objects.update(rollout_percent=100)
        self.flag.delete()
        self.assertIs(flag_enabled("new_checkout", self.alice), False)


class ValueTests(TestCase):
    def test_value_comes_back_as_it_was_saved(self):
        for value in ("stripe", 25, 2.5, True, ["DE", "AT"], {"free_from": 30}):
            KeyValueStore.objects.update_or_create(key="shipping", defaults={"value": value})
            self.assertEqual(get_value("shipping"), value)

    def test_missing_value_is_the_default(self):
        self.assertIsNone(get_value("shipping"))
        self.assertEqual(get_value("shipping", default=3), 3)


class CommittedTests(TransactionTestCase):
    def test_committed_flag_is_seen(self):
        FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=100)
        self.assertIs(flag_enabled("new_checkout"), True)
