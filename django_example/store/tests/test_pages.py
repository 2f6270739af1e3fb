from __future__ import annotations

from http import HTTPStatus

from django.contrib.auth.models import User
from django.test import TestCase
from django.urls import reverse

from flagstaff.models import FeatureFlag


class PageTests(TestCase):
    def enable(self, key: str) -> None:
        FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100)

    def test_banner_with_enabled_flag_is_shown(self) -> None:
        self.enable("summer_banner")
        self.assertContains(self.client.get("/"), "Summer at the harbour")

    def test_banner_without_flag_is_hidden(self) -> None:
        self.assertNotContains(self.client.get("/"), "Summer at the harbour")

    def test_reviews_with_enabled_flag_are_shown(self) -> None:
        self.enable("beta_reviews")
        response = self.client.get(reverse("reviews", args=["bell"]))
        self.assertTemplateUsed(response, "store/reviews.html")

    def test_reviews_without_flag_are_closed(self) -> None:
        response = self.client.get(reverse("reviews", args=["bell"]))
        self.assertTemplateUsed(response, "store/reviews_closed.html")

    def test_gift_wrapping_stays_for_a_browser_after_login(self) -> None:
        FeatureFlag.objects.create(
            key="gift_wrapping", enabled=True, rollout_percent=50, bucket_by="visitor"
        )
        User.objects.create_user("alice", first_name="Alice")
        url, shown = reverse("product", args=["bell"]), set()
        # Each browser draws its visitor.
        for _ in range(100):
            browser = self.client_class()
            before = b"as a gift" in browser.get(url).content
            browser.post(reverse("switch-user"), {"username": "alice"})
            self.assertEqual(b"as a gift" in browser.get(url).content, before)
            shown.add(before)
            if shown == {True, False}:
                break
        self.assertEqual(shown, {True, False})

    def test_new_browser_sees_its_own_bucket_in_the_panel(self) -> None:
        FeatureFlag.objects.create(
            key="gift_wrapping", enabled=True, rollout_percent=50, bucket_by="visitor"
        )
        self.assertContains(self.client.get("/"), "the bucket of your browser is")

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

    def test_admin_session_is_separate_from_shop_session(self) -> None:
        self.log_in_as("alice")
        login = {"username": "admin", "password": "flagstaff"}
        self.client.post(reverse("admin:login"), login)
        self.log_in_as("alice")
        self.assertContains(self.client.get(reverse("admin:index")), "admin")
        self.assertEqual(self.current_user(), "alice")
