"""Prints the refresh mode of a process whose flag model is "switches.Switch"."""

from __future__ import annotations

import json

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from switches.models import Setting, Switch

from flagstaff import flag_enabled, get_value, refresh, status

with pytest.raises(ValidationError) as error:
    Switch(key="new checkout", team="shop").full_clean()
assert list(error.value.message_dict) == ["key"]
with connection.cursor() as cursor:
    cursor.execute("INSERT INTO switches_switch (key, team) VALUES ('new_checkout', 'shop')")
    cursor.execute("INSERT INTO switches_setting (key, value) VALUES ('gateway', '1')")
assert flag_enabled("new_checkout") is False
assert get_value("gateway") == 1
with pytest.raises(IntegrityError, match="switches_switch_rollout_percent_range"):
    Switch.objects.update(rollout_percent=101)
Switch.objects.update(enabled=True, rollout_percent=100)
Setting.objects.update(value={"a": 2})
refresh()
assert flag_enabled("new_checkout") is True
assert get_value("gateway") == {"a": 2}
print(json.dumps(status().mode))
