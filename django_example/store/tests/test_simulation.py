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
from store.experiments import CHECKOUT_BUTTON, LARGE_PHOTOS
from store.models import Order
from store.simulation import Simulated, simulate
from store.simulation.shoppers import CONVERSION, LIFT, shoppers_of

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
        for key in (CHECKOUT_BUTTON, LARGE_PHOTOS):
            experiments.create(key)
            experiments.start(key)

    def simulate(self) -> Simulated:
        with live_engine():
            return simulate(SHOPPERS)

    def exposed(self, key: str, variant: str) -> set[str]:
        rows = Exposure.objects.filter(experiment__key=key, variant=variant)
        return set(rows.values_list("unit", flat=True))

    def test_every_shopper_meets_one_button(self) -> None:
        self.simulate()
        control, treatment = (
            self.exposed(CHECKOUT_BUTTON, variant) for variant in ("control", "treatment")
        )
        self.assertEqual(control & treatment, set())
        everyone = User.objects.values_list("pk", flat=True)
        self.assertEqual(control | treatment, {str(pk) for pk in everyone})

    def test_page_of_large_photos_loses_old_browsers_of_the_treatment(self) -> None:
        self.simulate()
        old = {str(one.pk) for one in shoppers_of(SHOPPERS, START, END) if one.has_old_browser}
        self.assertEqual(self.exposed(LARGE_PHOTOS, "treatment") & old, set())
        self.assertTrue(self.exposed(LARGE_PHOTOS, "control") & old)

    def test_exposures_are_after_the_start_and_orders_in_the_past(self) -> None:
        start = self.simulate().start
        self.assertEqual(
            set(Experiment.objects.values_list("started_at", "runs_since")),
            {(start, start)},
        )
        times = Exposure.objects.aggregate(first=Min("at"), last=Max("at"))
        self.assertTrue(start <= times["first"] < times["last"] < now())
        self.assertFalse(Order.objects.filter(created_at__gte=now()).exists())

    def test_second_run_is_refused(self) -> None:
        self.simulate()
        with self.assertRaisesMessage(CommandError, "have come already"):
            call_command("simulate_shoppers")
