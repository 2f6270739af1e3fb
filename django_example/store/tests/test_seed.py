from __future__ import annotations

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import TestCase

from flagstaff import flag_enabled, get_value
from flagstaff.experiments.models import Experiment, ExperimentEvent
from flagstaff.models import FeatureFlag, KeyValueStore, Segment, WaitingAction


class SeedTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        call_command("seed")

    def counts(self) -> tuple[int, ...]:
        models = (
            User,
            FeatureFlag,
            KeyValueStore,
            Segment,
            Experiment,
            ExperimentEvent,
            WaitingAction,
        )
        return tuple(model._default_manager.count() for model in models)

    def test_alice_is_allowed_user_and_bob_is_not(self) -> None:
        alice, bob = (User.objects.get(username=name) for name in ("alice", "bob"))
        FeatureFlag.objects.update(rollout_percent=0)
        self.assertTrue(flag_enabled("new_checkout", alice))
        self.assertFalse(flag_enabled("new_checkout", bob))

    def test_rule_of_beta_reviews_uses_the_segment_of_customers(self) -> None:
        flag = FeatureFlag.objects.get(key="beta_reviews")
        segment = Segment.objects.get(key="customers")
        flag.full_clean()
        segment.full_clean()
        [rule] = flag.rules
        self.assertEqual(rule["conditions"], [{"segment": segment.key}])

    def test_experiment_is_a_draft_with_metrics(self) -> None:
        experiment = Experiment.objects.get(key="checkout_button")
        self.assertEqual((experiment.state, experiment.primary_metric), ("draft", "orders"))

    def test_release_of_beta_reviews_waits(self) -> None:
        waiting = WaitingAction.objects.get()
        self.assertEqual((waiting.state, waiting.keys), ("waiting", ["beta_reviews"]))

    def test_run_after_the_release_lets_nothing_wait(self) -> None:
        WaitingAction.objects.all().delete()
        FeatureFlag.objects.update(enabled=True)
        call_command("seed")
        self.assertFalse(WaitingAction.objects.exists())

    def test_release_user_may_only_toggle_flags(self) -> None:
        permissions = User.objects.get(username="release", is_staff=True).get_all_permissions()
        self.assertEqual(
            permissions, {"flagstaff.view_featureflag", "flagstaff.toggle_featureflag"}
        )

    def test_second_run_adds_nothing(self) -> None:
        before = self.counts()
        call_command("seed")
        self.assertEqual(self.counts(), before)

    def test_second_run_keeps_changes(self) -> None:
        flag = FeatureFlag.objects.get(key="new_checkout")
        flag.allowed_users.clear()
        FeatureFlag.objects.update(rollout_percent=40)
        KeyValueStore.objects.update(value="paypal")
        call_command("seed")
        flag.refresh_from_db()
        self.assertEqual((flag.rollout_percent, flag.allowed_users.count()), (40, 0))
        self.assertEqual(get_value("payment_gateway"), "paypal")
