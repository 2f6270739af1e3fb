from __future__ import annotations

from http import HTTPStatus

from django.contrib.auth.models import User
from django.test import TestCase
from django.urls import reverse

from flagstaff.models import FeatureFlag
from store.models import Product


class PageTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        Product.objects.create(slug="bell", name="Watch bell", cents=6400, art="bell")

    def switch_on(self, key: str) -> None:
        FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100)

    def test_the_banner_is_there_when_its_flag_is_on(self) -> None:
        self.switch_on("summer_banner")
        self.assertContains(self.client.get("/"), "Summer at the harbour")

    def test_the_banner_is_gone_without_its_flag(self) -> None:
        self.assertNotContains(self.client.get("/"), "Summer at the harbour")

    def test_reviews_are_shown_to_those_who_have_the_flag(self) -> None:
        self.switch_on("beta_reviews")
        response = self.client.get(reverse("reviews", args=["bell"]))
        self.assertTemplateUsed(response, "store/reviews.html")

    def test_everybody_else_is_told_that_reviews_are_closed(self) -> None:
        response = self.client.get(reverse("reviews", args=["bell"]))
        self.assertTemplateUsed(response, "store/reviews_closed.html")

    def test_every_plain_page_answers(self) -> None:
        for address in ("/", "/cart/", "/things/bell/", "/crowd/", "/crowd/?flag=unknown"):
            with self.subTest(address):
                self.assertEqual(self.client.get(address).status_code, HTTPStatus.OK)


class WhoTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        Product.objects.create(slug="bell", name="Watch bell", cents=6400, art="bell")
        User.objects.create_user("alice", first_name="Alice")
        User.objects.create_superuser("admin", password="flagstaff")  # noqa: S106 - printed anyway

    def become(self, who: str) -> None:
        self.client.post(reverse("who"), {"who": who})

    def name(self) -> str:
        return str(self.client.get("/").context["user"])

    def test_a_visitor_can_be_alice_and_nobody_again(self) -> None:
        self.become("alice")
        self.assertEqual(self.name(), "alice")
        self.become("")
        self.assertEqual(self.name(), "AnonymousUser")

    def test_a_visitor_cannot_be_the_operator(self) -> None:
        self.become("admin")
        self.assertEqual(self.name(), "AnonymousUser")

    def test_the_cart_stays_with_the_visitor(self) -> None:
        self.client.post(reverse("cart-add", args=["bell"]))
        self.become("alice")
        self.assertContains(self.client.get(reverse("cart")), "Watch bell")

    def test_the_operator_logs_in_beside_the_visitor(self) -> None:
        self.become("alice")
        login = {"username": "admin", "password": "flagstaff"}
        self.client.post(reverse("admin:login"), login)
        self.become("alice")
        self.assertContains(self.client.get(reverse("admin:index")), "admin")
        self.assertEqual(self.name(), "alice")
