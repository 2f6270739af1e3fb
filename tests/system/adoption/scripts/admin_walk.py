"""Uses the admin of flags and values as a superuser. Prints columns, fields and results."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from common.models import FeatureFlag, KeyValueStore
from flagstaff import ready
from tests.support.admin_pages import act, undo_at
from tests.support.history import flag_history, value_history
from tests.support.screen import Screen

FLAGS, VALUES = "/admin/common/featureflag/", "/admin/common/keyvaluestore/"

call_command("check")
# Otherwise each page warns that no worker is connected.
assert ready(30)
admin = User.objects.create_superuser("operator")
client = Client()
client.force_login(admin)


def screen(response: Any, *, warns: str = "") -> Screen:
    """Returns a page, which must show this warning, or none."""
    page = Screen(response)
    shown = page.texts(".errorlist, .errornote, .error, .warning")
    if response.status_code != 200 or len(shown) != bool(warns) or warns not in "".join(shown):
        raise SystemExit(f"{response.status_code}, expected {warns!r}: {shown}, {page.text}")
    return page


def get(path: str) -> Screen:
    return screen(client.get(path, follow=True))


# The kind, and fields of a project; Django ignores those that there are not.
more = {"kind": "release", "team": "Checkout", "priority": 3, "reason": "faster"}
seen: dict[str, Any] = {}
screen(act(client, f"{FLAGS}add/", key="added", **more))
flag = FeatureFlag.objects.get(key="added")
of_flag = f"{FLAGS}{flag.pk}/"
seen["presets"] = get(f"{of_flag}change/").html.count("?percent=")
classes = " ".join(get(f"{of_flag}details/").attributes(".form-row", "class")).split()
seen["fields"] = [name.removeprefix("field-") for name in classes if name.startswith("field-")]
for rollout in {"percent": "5"}, {"percent": "30", "_reason": "wider"}:
    screen(act(client, f"{of_flag}rollout/", **rollout), warns="is off: no user has it")
get(f"{FLAGS}?q=added")
seen["asked"] = "Turn on added" in get(f"{of_flag}on/").text
screen(act(client, f"{of_flag}on/"))
events = flag_history("added")
seen["undo links"] = get(f"{of_flag}history/").html.count("/featureflag/changes/?undo=")
screen(undo_at(client, f"{FLAGS}changes/?undo={events[1].version}"))
# It asks, because most users get the flag.
screen(act(client, f"{of_flag}allow/", users="operator"))
seen["allowed"] = [user.username for user in flag.allowed_users.all()]
removed = {"users": admin.pk, "_confirmed": "1"}
screen(client.post(f"{of_flag}disallow/", removed, follow=True))
seen["allowed"].append(flag.allowed_users.count())
seen["result"] = get(f"{of_flag}change/?user=operator").part("#who-has-it").texts("p > strong")
flag.refresh_from_db()
seen["flag"] = [flag.enabled, flag.rollout_percent]
seen["actors"] = sorted({event.actor == str(admin.pk) for event in flag_history("added")})
seen["reasons"] = [event.reason for event in events if event.reason]
seen["own reason"] = getattr(flag, "reason", None)
screen(act(client, f"{of_flag}delete/"))
seen["deleted"] = not FeatureFlag.objects.filter(key="added").exists()

screen(act(client, f"{VALUES}add/", key="added", value="1"))
value = KeyValueStore.objects.get(key="added")
screen(act(client, f"{VALUES}{value.pk}/set/", value="2"))
get(f"{VALUES}?q=added")
get(f"{VALUES}{value.pk}/history/")
screen(undo_at(client, f"{FLAGS}changes/?undo={value_history('added')[0].version}"))
value.refresh_from_db()
seen["value"] = value.value
print(json.dumps(seen))
