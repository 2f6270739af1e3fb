"""Tests that a project writes for its own flags: create a row, then check the page."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.test import TestCase
from django.urls import reverse

from flagstaff.models import FeatureFlag, KeyValueStore
from store.models import Order

ADDRESS = {"name": "Alice", "street": "Harbour Street 7", "city": "Svolvær"}


class CartTestCase(TestCase):
    alice: User
    bob: User
    flag: FeatureFlag

    @classmethod
    def setUpTestData(cls) -> None:
        cls.alice = User.objects.create_user("alice")
        cls.bob = User.objects.create_user("bob")
        cls.flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
        cls.flag.allowed_users.add(cls.alice)

    def setUp(self) -> None:
        self.client.post(reverse("cart-add", args=["bell"]))

    def go_to_checkout(self) -> Any:
        return self.client.get(reverse("checkout"), follow=True)


class CheckoutTests(CartTestCase):
    def test_user_with_flag_gets_one_page(self) -> None:
        self.client.force_login(self.alice)
        self.assertTemplateUsed(self.go_to_checkout(), "store/checkout_one_page.html")

    def test_user_without_flag_gets_classic_pages(self) -> None:
        self.client.force_login(self.bob)
        self.assertTemplateUsed(self.go_to_checkout(), "store/checkout_classic.html")

    def test_full_rollout_includes_anonymous_users(self) -> None:
        FeatureFlag.objects.update(rollout_percent=100)
        self.assertTemplateUsed(self.go_to_checkout(), "store/checkout_one_page.html")

    def test_disabled_flag_gives_allowed_user_classic_pages(self) -> None:
        self.client.force_login(self.alice)
        FeatureFlag.objects.update(enabled=False)
        self.assertTemplateUsed(self.go_to_checkout(), "store/checkout_classic.html")

    def test_one_page_checkout_creates_order(self) -> None:
        self.client.force_login(self.alice)
        self.client.post(reverse("checkout"), ADDRESS)
        order = Order.objects.get(customer=self.alice)
        self.assertEqual((order.checkout, order.cents), ("one page", 6400))

    def test_classic_checkout_creates_order(self) -> None:
        self.client.force_login(self.bob)
        review = self.client.post(reverse("checkout"), ADDRESS)
        self.assertContains(review, "Review your order")
        self.client.post(reverse("checkout"), ADDRESS | {"confirmed": "1"})
        order = Order.objects.get(customer=self.bob)
        self.assertEqual((order.checkout, order.cents), ("classic", 6400))

    def test_checkout_with_empty_cart_redirects_to_cart(self) -> None:
        self.client.post(reverse("cart-remove", args=["bell"]))
        self.assertRedirects(self.client.get(reverse("checkout")), reverse("cart"))


class FaultTests(CartTestCase):
    def test_planted_fault_fails_the_order(self) -> None:
        KeyValueStore.objects.create(key="checkout_fault_percent", value=100)
        self.client.force_login(self.alice)
        self.client.raise_request_exception = False
        with self.assertLogs("django.request", "ERROR"):
            response = self.client.post(reverse("checkout"), ADDRESS)
        self.assertEqual(response.status_code, 500)
        self.assertFalse(Order.objects.exists())


class GatewayTests(CartTestCase):
    def pay(self) -> Any:
        self.client.force_login(self.alice)
        return self.client.post(reverse("checkout"), ADDRESS, follow=True)

    def test_missing_value_selects_stripe(self) -> None:
        self.assertContains(self.pay(), "Paid with Stripe")

    def test_value_selects_paypal(self) -> None:
        KeyValueStore.objects.create(key="payment_gateway", value="paypal")
        self.assertContains(self.pay(), "Paid with PayPal")

    def test_value_that_is_no_choice_is_stripe(self) -> None:
        KeyValueStore.objects.create(key="payment_gateway", value="barter")
        self.assertContains(self.pay(), "Paid with Stripe")
