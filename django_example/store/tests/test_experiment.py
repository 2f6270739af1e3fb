"""Tests of an experiment: the page of each variant, and what the metrics count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.test import TestCase
from django.urls import reverse
from django.utils.timezone import now

from flagstaff.experiments.metrics import find_metric, metric_names
from flagstaff.testing import override_variant
from store import metrics
from store.models import Order


class CheckoutButtonTests(TestCase):
    def cart(self) -> Any:
        return self.client.post(reverse("cart-add", args=["bell"]), follow=True)

    def test_control_says_check_out(self) -> None:
        with override_variant("checkout_button", "control"):
            self.assertContains(self.cart(), ">Check out</a>")

    def test_treatment_says_buy_now(self) -> None:
        with override_variant("checkout_button", "treatment"):
            self.assertContains(self.cart(), 'class="button buy"')
            self.assertContains(self.cart(), ">Buy now</a>")

    def test_without_experiment_everyone_gets_the_control(self) -> None:
        self.assertContains(self.cart(), ">Check out</a>")


class MetricTests(TestCase):
    alice: User

    @classmethod
    def setUpTestData(cls) -> None:
        cls.alice = User.objects.create_user("alice")

    def add_order(self, customer: User | None, minutes: int, cents: int = 100) -> None:
        order = Order.objects.create(customer=customer, lines=[], cents=cents)
        at = now() + timedelta(minutes=minutes)
        Order.objects.filter(pk=order.pk).update(created_at=at)

    def values(self, source: Any, name: str) -> list[Any]:
        rows = source()
        self.assertIsInstance(rows, QuerySet)
        return sorted(rows.values_list(name, flat=True))

    def test_every_metric_of_the_settings_is_a_metric(self) -> None:
        for name in metric_names():
            self.assertIs(find_metric(name), getattr(metrics, name))

    def test_order_without_customer_is_not_counted(self) -> None:
        self.add_order(None, 0)
        self.add_order(self.alice, 0)
        self.assertEqual(self.values(metrics.orders.source, "unit"), [self.alice.pk])

    def test_revenue_is_in_euros(self) -> None:
        self.add_order(self.alice, 0, cents=1250)
        self.assertEqual(self.values(metrics.revenue.source, "value"), [12.5])

    def test_double_order_is_a_second_one_within_ten_minutes(self) -> None:
        self.add_order(self.alice, 0)
        self.add_order(self.alice, 11)
        self.add_order(User.objects.create_user("bob"), 12)
        self.assertEqual(self.values(metrics.double_orders.source, "unit"), [])
        self.add_order(self.alice, 20)
        self.assertEqual(self.values(metrics.double_orders.source, "unit"), [self.alice.pk])
