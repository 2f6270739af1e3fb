"""Exports and imports of the example shop, for the tests of serialization."""

import json
import textwrap
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User

from flagstaff import serialization
from flagstaff.exceptions import DocumentError
from flagstaff.history.describe import describe_change
from flagstaff.models import Change, FeatureFlag, KeyValueStore

MASK = "••••••"

# The export of three keys.
SHOP = """\
{
  "flagstaff": 1,
  "partial": true,
  "flags": {
    "beta_reviews": {
      "enabled": true,
      "rollout_percent": 0,
      "bucket_by": "user",
      "rules": [],
      "description": "Reviews before everybody sees them",
      "kind": "permission",
      "client_side": false,
      "owner": "",
      "tags": [],
      "review_on": null,
      "allowed_users": [
        "alice",
        "bob"
      ]
    }
  },
  "values": {
    "mail_password": {
      "value": "••••••",
      "description": "",
      "secret": true,
      "type": "",
      "choices": [],
      "rules": [],
      "bucket_by": "user",
      "client_side": false
    },
    "page_size": {
      "value": 20,
      "description": "",
      "secret": false,
      "type": "",
      "choices": [],
      "rules": [],
      "bucket_by": "user",
      "client_side": false
    }
  }
}
"""

# A file that changes and creates flags and values of the shop, in the notation of `json_of`.
EDITED = """
    flagstaff: 1
    flags:
      beta_reviews: {allowed_users: [bob, pk: 3]}
      brand_new: {enabled: true, rollout_percent: 5, allowed_users: [alice]}
      new_checkout: {rollout_percent: 50, description: One page}
    values:
      page_size: {value: 50}
      motto: {value: "on"}
"""


def json_of(text: str) -> str:
    """Returns the JSON of a file that a test writes in a shorter notation, or as JSON."""
    if text.startswith("{"):
        return text
    return json.dumps(yaml.safe_load(textwrap.dedent(text)))


def export_text(**options: Any) -> str:
    return serialization.as_text(serialization.export(**options))


def import_text(text: str, **options: Any) -> serialization.Imported:
    return serialization.apply(serialization.read(json_of(text)), **options)


def dry_run(text: str, **options: Any) -> serialization.Imported:
    """Returns what the import of a file would change. Asserts that it writes nothing."""
    before = database_state(), Change.objects.count()
    planned = import_text(text, dry_run=True, **options)
    assert (database_state(), Change.objects.count(), planned.undo) == (*before, None)
    return planned


def import_problems(text: str, **options: Any) -> list[str]:
    """Returns the problems of a file whose import is refused and writes nothing."""
    before = database_state()
    with pytest.raises(DocumentError) as caught:
        import_text(text, **options)
    assert database_state() == before
    return list(caught.value.problems)


def database_state() -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the fields of all flags, without times, with allowed users; and all values."""
    ignored = ("id", "created_at", "changed_at")
    flags = {
        flag.key: {
            **{name: v for name, v in vars(flag).items() if name[0] != "_" and name not in ignored},
            "allowed": set(flag.allowed_users.values_list("username", flat=True)),
        }
        for flag in FeatureFlag.objects.all()
    }
    values = {
        row.key: (json.dumps(row.value, sort_keys=True), row.description, row.secret)
        for row in KeyValueStore.objects.all()
    }
    return flags, values


def summaries(imported: serialization.Imported) -> dict[str, str]:
    """Returns what has changed, in words, by key."""
    names = {str(pk): name for pk, name in User.objects.values_list("pk", "username")}
    return {key: describe_change(change, names) for (_, key), change in imported.changed.items()}
