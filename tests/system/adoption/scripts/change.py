"""Prints how many seconds a change through the project's own models takes to be seen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model

from common.flags import flag_enabled
from common.models import FeatureFlag, KeyValueStore
from common.values import get_value

LIMIT = 30.0


def seconds_until(condition: Callable[[], bool]) -> float:
    started = time.monotonic()
    while not condition():
        if time.monotonic() > started + LIMIT:
            raise SystemExit("the change was not seen")
        time.sleep(0.001)
    return time.monotonic() - started


User: Any = get_user_model()
alice, bob, *_others = User.objects.order_by("-pk")
flag = FeatureFlag.objects.create(key="just_made", enabled=True)
took = [seconds_until(lambda: flag_enabled("just_made") is False)]
flag.allowed_users.add(alice)
took += [seconds_until(lambda: flag_enabled("just_made", alice))]
if flag_enabled("just_made", bob):
    raise SystemExit("bob is not allowed")
FeatureFlag.objects.filter(key="just_made").update(rollout_percent=100)
took += [seconds_until(lambda: flag_enabled("just_made"))]
KeyValueStore.objects.create(key="just_made", value=[1, {"a": None}])
took += [seconds_until(lambda: get_value("just_made") == [1, {"a": None}])]
flag.delete()
took += [seconds_until(lambda: not flag_enabled("just_made"))]
print(json.dumps(max(took)))
