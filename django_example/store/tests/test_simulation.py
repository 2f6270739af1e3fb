"""The simulated shoppers of `make demo SCENE=experiment`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import Max, Min
from django.test import SimpleTestCase, TransactionTestCase
from django.utils.timezone import now

from flagstaff import experiments
from flagstaff.experiments.models import Experiment, Exposure
from flagstaff.testing import live_engine
from store.flags import CHECKOUT_BUTTON
from store.models import Order
from store.simulation import CONVERSION, LIFT, shoppers_of, simulate

END = datetime(2026, 1, 22, tzinfo=timezone.utc)
START = END - timedelta(days=21)
SHOPPERS = 300


class ShopperTests(SimpleTestCase):
    def test_shoppers_are_the_same_in_each_run(self) -> None:
        first, second = (list(shoppers_of(100, START, END)) for _ in range(2))
        self.assertEqual(first, second)

    def test_effect_is_the_planted_one(self) -> None:
        count = 20_000
        shoppers = list(shoppers_of(count, START, END))
        for variant, planted in (("control", CONVERSION), ("treatment", CONVERSION * LIFT)):
            buyers = sum(bool(one.purchases(variant)) for one in shoppers)
            self.assertAlmostEqual(buyers / count, planted, delta=0.005)


class SimulationTests(TransactionTestCase):
    def setUp(self) -> None:
        experiments.create(CHECKOUT_BUTTON)
        experiments.start(CHECKOUT_BUTTON)

    def test_every_shopper_meets_one_button_in_the_past(self) -> None:
        with live_engine():
            _orders, start = simulate(SHOPPERS)
        met = Exposure.objects.values_list("unit", flat=True)
        self.assertCountEqual(met, map(str, User.objects.values_list("pk", flat=True)))
        experiment = Experiment.objects.get()
        self.assertEqual((experiment.started_at, experiment.runs_since), (start, start))
        times = Exposure.objects.aggregate(first=Min("at"), last=Max("at"))
        self.assertTrue(start <= times["first"] < times["last"] < now())
        self.assertFalse(Order.objects.filter(created_at__gte=now()).exists())
        with self.assertRaisesMessage(CommandError, "have come already"):
            call_command("simulate_shoppers")
