from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand
from django.db import transaction

from flagstaff.models import FeatureFlag, KeyValueStore
from store import samples
from store.models import Product


class Command(BaseCommand):
    help = "Puts the demo's sample data in. Run again, it adds what is missing and changes nothing."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        seed_people()
        seed_admin()
        Product.objects.bulk_create(
            [Product(**product) for product in samples.PRODUCTS], ignore_conflicts=True
        )
        seed_flags()
        seed_values()


def seed_people() -> None:
    """Customers first, so that their primary keys and with them their buckets are 1, 2 and 3."""
    user_model = get_user_model()
    nobody_knows = make_password(None)
    people = [
        user_model(username=username, first_name=first, last_name=last, password=nobody_knows)
        for username, first, last in (*samples.CUSTOMERS, *samples.CROWD)
    ]
    present = set(user_model.objects.values_list("username", flat=True))
    user_model.objects.bulk_create(
        [person for person in people if person.get_username() not in present]
    )


def seed_admin() -> None:
    username, password = samples.ADMIN
    users = get_user_model().objects
    if not users.filter(username=username).exists():
        users.create_superuser(username=username, password=password)


def seed_flags() -> None:
    users = get_user_model().objects
    for row in samples.FLAGS:
        key = row["key"]
        flag, created = FeatureFlag.objects.get_or_create(key=key, defaults=row)
        if created:
            flag.allowed_users.set(users.filter(username__in=samples.ALLOWED.get(key, ())))


def seed_values() -> None:
    for row in samples.VALUES:
        KeyValueStore.objects.get_or_create(key=row["key"], defaults=row)
