"""Uses the admin of flags and values as a superuser. Prints columns, fields and results."""

from __future__ import annotations

import json
import re
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from common.models import FeatureFlag, KeyValueStore
from flagstaff import ready
from tests.support.admin_pages import confirmed
from tests.support.history import flag_history, value_history
from tests.support.screen import Screen

PROBLEM = r'class="(errorlist|errornote|error|warning)[^>]*>(.*)'

call_command("check")
# Otherwise each page warns that no worker is connected.
assert ready(30)
admin = User.objects.create_superuser("operator")
client = Client()
client.force_login(admin)


def page(response: Any, *, warns: str = "") -> str:
    """Returns the HTML of the page that a request leads to. It must show this warning, or none."""
    if response.status_code != 200:
        raise SystemExit(f"{response.status_code}: {response.content.decode()[:2000]}")
    html = str(response.content.decode())
    shown = [text for _, text in re.findall(PROBLEM, html)]
    if len(shown) != bool(warns) or any(warns not in text for text in shown):
        raise SystemExit(f"expected {warns!r}, but the page shows {shown}")
    return html


def get(path: str) -> str:
    return page(client.get(f"/admin/common/{path}", follow=True))


def post(path: str, data: dict[str, Any], *, warns: str = "") -> str:
    return page(client.post(f"/admin/common/{path}", data, follow=True), warns=warns)


def undo(version: int) -> None:
    url = f"/admin/common/featureflag/changes/?undo={version}"
    page(client.post(url, confirmed(client.get(url)), follow=True))


def fields(html: str) -> list[str]:
    classes = " ".join(Screen(html).attributes(".form-row", "class")).split()
    names = (name.removeprefix("field-") for name in classes if name.startswith("field-"))
    return [name for name in dict.fromkeys(names) if name != "_shown"]


# The kind, and fields of a project; Django ignores those that there are not.
more = {"kind": "release", "team": "Checkout", "priority": 3, "reason": "faster"}
seen: dict[str, Any] = {}
post("featureflag/add/", {**Screen(get("featureflag/add/")).fields(), "key": "added", **more})
flag = FeatureFlag.objects.get(key="added")
change = get(f"featureflag/{flag.pk}/change/")
details = get(f"featureflag/{flag.pk}/details/")
for rollout in {"percent": "5"}, {"percent": "30", "_reason": "wider"}:
    post(f"featureflag/{flag.pk}/rollout/", rollout, warns="is off, and stays off")
get("featureflag/?q=added")
question = get(f"featureflag/{flag.pk}/on/")
post(f"featureflag/{flag.pk}/on/", Screen(question).fields())
events = flag_history("added")
history = get(f"featureflag/{flag.pk}/history/")
undo(events[1].version)
flag.refresh_from_db()
# It asks, because most users get the flag.
allow = f"/admin/common/featureflag/{flag.pk}/allow/"
names = {"users": "operator"}
page(client.post(allow, confirmed(client.post(allow, names), **names), follow=True))
seen["allowed"] = [user.username for user in flag.allowed_users.all()]
post(f"featureflag/{flag.pk}/disallow/", {"users": admin.pk, "_confirmed": "1"})
seen["allowed"].append(flag.allowed_users.count())
answer = get(f"featureflag/{flag.pk}/change/?user=operator")
seen["result"] = Screen(answer).part("#who-has-it").texts("p > strong")
seen["fields"] = fields(details)
seen["presets"] = change.count("?percent=")
seen["asked"] = "Turn on added" in question
seen["flag"] = [flag.enabled, flag.rollout_percent]
seen["undo links"] = history.count("/featureflag/changes/?undo=")
seen["actors"] = sorted({event.actor == str(admin.pk) for event in flag_history("added")})
seen["reasons"] = [event.reason for event in events if event.reason]
seen["own reason"] = getattr(flag, "reason", None)
question = get(f"featureflag/{flag.pk}/delete/")
post(f"featureflag/{flag.pk}/delete/", Screen(question).fields())
seen["deleted"] = not FeatureFlag.objects.filter(key="added").exists()

post("keyvaluestore/add/", {"key": "added", "value": "1"})
value = KeyValueStore.objects.get(key="added")
assign = f"/admin/common/keyvaluestore/{value.pk}/set/"
typed = {"value": "2"}
page(client.post(assign, confirmed(client.post(assign, typed), **typed), follow=True))
get("keyvaluestore/?q=added")
history = get(f"keyvaluestore/{value.pk}/history/")
undo(value_history("added")[0].version)
value.refresh_from_db()
seen["value"] = value.value
print(json.dumps(seen))
