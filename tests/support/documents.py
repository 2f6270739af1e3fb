"""Exports and imports of the example shop, for the tests of serialization."""

from __future__ import annotations

import json
import textwrap
from typing import Any, Literal

import pytest

from flagstaff import serialization
from flagstaff.exceptions import DocumentError
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.serialization import Plan

Format = Literal["yaml", "json"]
BOTH_FORMATS = pytest.mark.parametrize("format_", ["yaml", "json"])

MASK = "••••••"

# The export of three keys.
SHOP = """\
# Flags, values and segments, written by `manage.py flags export`.
# •••••• masks a secret value. An import keeps the stored value.
flagstaff: 1
partial: true
flags:
  beta_reviews:
    enabled: true
    rollout_percent: 0
    bucket_by: user
    rules: []
    description: Reviews before everybody sees them
    kind: permission
    client_side: false
    owner: ''
    tags: []
    review_on: null
    allowed_users:
      - alice
      - bob
values:
  mail_password:
    value: ••••••
    description: ''
    secret: true
    type: ''
    choices: []
    rules: []
    bucket_by: user
    client_side: false
  page_size:
    value: 20
    description: ''
    secret: false
    type: ''
    choices: []
    rules: []
    bucket_by: user
    client_side: false
"""

# A file that changes and creates flags and values of the shop.
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


def export_text(format_: Format = "yaml", **options: Any) -> str:
    return serialization.as_text(serialization.export(**options), format_)


def import_text(text: str, format_: Format = "yaml", **options: Any) -> serialization.Imported:
    return serialization.apply(serialization.read(textwrap.dedent(text), format_), **options)


def diff_text(text: str, format_: Format = "yaml", **options: Any) -> Plan:
    return serialization.diff(serialization.read(textwrap.dedent(text), format_), **options)


def import_problems(text: str, format_: Format = "yaml", **options: Any) -> list[str]:
    """Returns the problems of a file whose import is refused and writes nothing."""
    before = database_state()
    with pytest.raises(DocumentError) as caught:
        import_text(text, format_, **options)
    assert database_state() == before
    return [str(problem) for problem in caught.value.problems]


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


def summaries(plan: Plan) -> dict[str, str]:
    """Returns the summary of each step by its key."""
    return {step.key: step.as_dict(plan.usernames)["summary"] for step in plan.steps}
