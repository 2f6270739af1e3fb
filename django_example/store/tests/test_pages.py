from __future__ import annotations

from http import HTTPStatus

from django.contrib.auth.models import User
from django.test import TestCase
from django.urls import reverse

from flagstaff.models import FeatureFlag


class PageTests(TestCase):
    def enable(self, key: str) -> None:
        FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100)

    def test_banner_is_shown_by_the_flag(self) -> None:
        self.assertNotContains(self.client.get("/"), "Summer at the harbour")
        self.enable("summer_banner")
        self.assertContains(self.client.get("/"), "Summer at the harbour")

    def test_reviews_are_shown_by_the_flag(self) -> None:
        url = reverse("product", args=["bell"])
        self.assertNotContains(self.client.get(url), "Reviews")
        self.enable("beta_reviews")
        self.assertContains(self.client.get(url), "Reviews")

    def test_pages_without_login_are_ok(self) -> None:
        for url in ("/", "/cart/", "/things/bell/", "/crowd/", "/crowd/?flag=unknown"):
            with self.subTest(url):
                self.assertEqual(self.client.get(url).status_code, HTTPStatus.OK)


class AccountMenuTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        User.objects.create_user("alice", first_name="Alice")
        User.objects.create_superuser("admin", password="flagstaff")  # noqa: S106 (public)

    def log_in_as(self, username: str) -> None:
        self.client.post(reverse("switch-user"), {"username": username})

    def current_user(self) -> str:
        return str(self.client.get("/").context["user"])

    def test_visitor_can_log_in_as_alice_and_log_out(self) -> None:
        self.log_in_as("alice")
        self.assertEqual(self.current_user(), "alice")
        self.log_in_as("")
        self.assertEqual(self.current_user(), "AnonymousUser")

    def test_visitor_cannot_log_in_as_admin(self) -> None:
        self.log_in_as("admin")
        self.assertEqual(self.current_user(), "AnonymousUser")

    def test_cart_is_kept_after_login(self) -> None:
        self.client.post(reverse("cart-add", args=["bell"]))
        self.log_in_as("alice")
        self.assertContains(self.client.get(reverse("cart")), "Watch bell")
