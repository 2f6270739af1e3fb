"""Prints the refresh mode of a process whose flags are in the database "flags"."""

from __future__ import annotations

import json

from flagstaff import flag_enabled, refresh, status
from flagstaff.models import FeatureFlag

if flag_enabled("other"):
    raise SystemExit("the flag exists already")
FeatureFlag.objects.using("flags").create(key="other", enabled=True, rollout_percent=100)
refresh()
if not flag_enabled("other"):
    raise SystemExit("the flag was not seen")
print(json.dumps(status().mode))
