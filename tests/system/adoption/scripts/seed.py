"""Creates flags, values and users. USERS is the number of users."""

from __future__ import annotations

import json
import os
import random
from typing import Any

from django.contrib.auth import get_user_model

from common.models import FeatureFlag, KeyValueStore

User: Any = get_user_model()
PERCENTS = (0, 1, 5, 10, 25, 33, 50, 67, 75, 90, 99, 100)
VALUES = {
    "payment_gateway": "stripe",
    "free_shipping_from": 29.9,
    "shipping": {"free_from": 50, "countries": ["DE", "AT"], "express": None},
    "largest_order": 12345678901234567890,
    "maintenance": False,
    "Öffnungszeiten": [],
}

chance = random.Random(7)
users = User.objects.bulk_create(User(username=f"user{i}") for i in range(int(os.environ["USERS"])))
for number in range(20):
    flag = FeatureFlag.objects.create(
        key=f"flag-{number}" if number else "neue_Kasse.größer",
        enabled=number % 5 != 4,
        rollout_percent=PERCENTS[number % len(PERCENTS)],
    )
    if number % 3 == 0:
        flag.allowed_users.set(chance.sample(users, len(users) // 10))
for key, value in VALUES.items():
    KeyValueStore.objects.create(key=key, value=value)
print(json.dumps(len(users)))
