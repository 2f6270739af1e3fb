"""Prints every result of the project's own functions."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model

from common.flags import flag_enabled
from common.models import FeatureFlag, KeyValueStore
from common.values import get_value

User: Any = get_user_model()
keys = [*FeatureFlag.objects.order_by("key").values_list("key", flat=True)]
users = [*User.objects.order_by("pk")]
results = {
    "results": [[flag_enabled(key, user) for user in users] for key in keys],
    "without a user": [flag_enabled(key) for key in keys],
    "unknown": [flag_enabled("unknown", users[0]), get_value("unknown", 3)],
    "values": {key: get_value(key) for key in KeyValueStore.objects.values_list("key", flat=True)},
}
mode = None
if "flagstaff" in settings.INSTALLED_APPS:
    from flagstaff import status

    mode = status().mode
print(json.dumps({"found": results, "mode": mode}))
