from __future__ import annotations

from datetime import timedelta

from django.test import TestCase
from django.utils.timezone import now

from flagstaff.rollouts.models import Plan
from store.guards import MIN_ORDERS, orders
from store.models import Order


class GuardTests(TestCase):
    def add_orders(self, count: int) -> None:
        Order.objects.bulk_create(Order(lines=[], cents=100) for _ in range(count))

    def test_usual_number_of_orders_is_fine(self) -> None:
        self.add_orders(MIN_ORDERS)
        self.assertTrue(orders(Plan()) is True)

    def test_old_orders_do_not_count(self) -> None:
        self.add_orders(MIN_ORDERS)
        Order.objects.update(created_at=now() - timedelta(minutes=2))
        self.assertEqual(orders(Plan()), "only 0 orders in the last minute")
