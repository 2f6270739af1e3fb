"""Which alice each command means, if reads of users go to another database than writes.

In "default", alice has the primary key 1 and bob 2. In "replica", where a router sends reads, it is
the other way round, so a look-up through the router finds the wrong user.
"""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command

from flagstaff import acting_as
from flagstaff.history.describe import names_of_actors, names_of_users
from flagstaff.models import FeatureFlag
from flagstaff.serialization import export
from tests.support.history import flag_history


def flags(*arguments: str) -> Any:
    out = StringIO()
    call_command("flags", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


for alias, names in ("default", ("alice", "bob")), ("replica", ("bob", "alice")):
    for pk, name in enumerate(names, 1):
        User.objects.using(alias).create(pk=pk, username=name)
FeatureFlag.objects.using("default").create(key="new_checkout", enabled=True)

answers = {
    "explain": flags("explain", "new_checkout", "alice")["user"]["pk"],
    "allow": flags("allow", "new_checkout", "alice", "--as", "alice")["new"]["allowed_users"],
}
event = flag_history("new_checkout")[0]
answers["as"] = event.actor
answers["actor"] = names_of_actors([event]).get("1")
answers["user"] = names_of_users([event]).get("1")
answers["export"] = export()["flags"]["new_checkout"]["allowed_users"]
with acting_as(User.objects.using("default").get(username="bob")):
    FeatureFlag.objects.using("default").update(rollout_percent=5)
answers["bob"] = names_of_actors(flag_history("new_checkout")[:1]).get("2")
print(json.dumps(answers))
