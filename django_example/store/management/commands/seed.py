from __future__ import annotations

from io import StringIO
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from flagstaff import acting_as, experiments
from flagstaff.experiments.models import Experiment
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from store import samples


class Command(BaseCommand):
    help = "Adds the missing sample data of the demo. Keeps existing rows."

    @transaction.atomic
    @acting_as("seed", reason="sample data")
    def handle(self, *args: Any, **options: Any) -> None:
        seed_users()
        seed_staff()
        seed_segments()
        is_new = not FeatureFlag.objects.exists()
        seed_flags()
        seed_values()
        seed_experiment()
        # Later, what it would do may be done already.
        if is_new:
            seed_waiting_action()


def seed_users() -> None:
    """Creates the customers first: their primary keys 1, 2 and 3 have known buckets."""
    user_model = get_user_model()
    unusable = make_password(None)
    users = [
        user_model(username=username, first_name=first, last_name=last, password=unusable)
        for username, first, last in (*samples.CUSTOMERS, *samples.CROWD)
    ]
    present = set(user_model.objects.values_list("username", flat=True))
    user_model.objects.bulk_create([user for user in users if user.get_username() not in present])


def seed_staff() -> None:
    users = get_user_model().objects
    for username, codenames in samples.STAFF.items():
        if not users.filter(username=username).exists():
            user = users.create_user(username, password=samples.PASSWORD, is_staff=True)
            user.is_superuser = codenames is None
            user.save()
            user.user_permissions.set(Permission.objects.filter(codename__in=codenames or ()))


def seed_segments() -> None:
    """Creates the segments before the flags whose rules name them."""
    for row in samples.SEGMENTS:
        Segment.objects.get_or_create(key=row["key"], defaults=row)


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


def seed_experiment() -> None:
    key = samples.EXPERIMENT["key"]
    if not Experiment.objects.filter(key=key).exists():
        experiments.create(**samples.EXPERIMENT)
        experiments.edit(key, **samples.ANALYSIS)


def seed_waiting_action() -> None:
    """Lets an action wait for its time: see the overview in the admin."""
    at = timezone.now() + samples.WAITS_FOR
    options = ["--at", at.isoformat(timespec="minutes"), "--as", "admin", "--yes"]
    # It prints a receipt.
    call_command("flags", *samples.WAITING.split(), *options, stderr=StringIO())
