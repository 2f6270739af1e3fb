"""Removes the username of an allowed user, and prints the primary key."""

from __future__ import annotations

import json
from typing import Any

import django

django.setup()

from django.contrib.auth import get_user_model

from common.models import FeatureFlag

User: Any = get_user_model()
user = FeatureFlag.objects.exclude(allowed_users=None)[0].allowed_users.all()[0]
User.objects.filter(pk=user.pk).update(username="")
print(json.dumps(str(user.pk)))
