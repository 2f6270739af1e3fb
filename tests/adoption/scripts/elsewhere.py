"""How a process is kept up to date whose flags are in the database "flags"."""

from __future__ import annotations

import json

import django

django.setup()

from flagstaff import flag_enabled, refresh, status
from flagstaff.models import FeatureFlag

if flag_enabled("elsewhere"):
    raise SystemExit("the flag is not there yet")
FeatureFlag.objects.using("flags").create(key="elsewhere", enabled=True, rollout_percent=100)
refresh()
if not flag_enabled("elsewhere"):
    raise SystemExit("the flag is not seen")
print(json.dumps(status().mode))
