from django.contrib.auth import get_user_model
from django.test import TestCase

from common.models import FeatureFlag, KeyValueStore


class CheckoutTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.alice = get_user_model().objects.create_user("alice")
        cls.flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)

    def test_visitor_pays_in_the_old_checkout(self):
        self.assertContains(self.client.get("/checkout/"), "old checkout")

    def test_allowed_user_pays_in_the_new_checkout(self):
        self.flag.allowed_users.add(self.alice)
        self.client.force_login(self.alice)
        self.assertContains(self.client.get("/checkout/"), "new checkout")

    def test_everybody_pays_in_the_new_checkout_at_last(self):
        FeatureFlag.objects.update(rollout_percent=100)
        self.assertContains(self.client.get("/checkout/"), "new checkout")

    def test_shipping_is_what_was_set(self):
        KeyValueStore.objects.create(key="shipping", value={"free_from": 30, "countries": ["DE"]})
        self.assertEqual(self.client.get("/shipping/").json()["free_from"], 30)


class AdminTests(TestCase):
    def test_flag_is_switched_on_in_the_list(self):
        user = get_user_model().objects.create_superuser("admin", password="secret")
        self.client.force_login(user)
        flag = FeatureFlag.objects.create(key="new_checkout")
        form = {
            "form-TOTAL_FORMS": 1,
            "form-INITIAL_FORMS": 1,
            "form-0-id": flag.pk,
            "form-0-enabled": "on",
            "form-0-rollout_percent": 100,
            "_save": "Save",
        }
        self.client.post("/admin/common/featureflag/", form)
        self.assertContains(self.client.get("/checkout/"), "new checkout")
