"""The expected results, computed from the database without the code under test."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from tools.soak.environment import Environment
from tools.soak.worker import USERS

FLAGS = """
    SELECT key, enabled, rollout_percent, array(
        SELECT user_id FROM flagstaff_featureflag_allowed_users AS a WHERE a.featureflag_id = f.id
    )
    FROM flagstaff_featureflag AS f
"""
VALUES = "SELECT key, value::text FROM flagstaff_keyvaluestore"


def truth(env: Environment) -> dict[str, Any]:
    """Returns the users that have each flag, and all values."""
    flags = {
        key: [user for user in USERS if enabled and (user in allowed or has(key, user, rollout))]
        for key, enabled, rollout, allowed in env.rows(FLAGS)
    }
    return {
        "flags": flags,
        "values": {key: json.loads(value) for key, value in env.rows(VALUES)},
    }


def has(key: str, user: int, rollout: int) -> bool:
    """Returns True if the user is within the rollout."""
    return int(sha256(f"{key}:{user}".encode()).hexdigest(), 16) % 100 < rollout


def differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """Returns a text for each difference."""
    return [
        f"{kind} {key}: {actual[kind].get(key)} instead of {expected[kind].get(key)}"
        for kind in expected
        for key in sorted({*expected[kind], *actual[kind]})
        if expected[kind].get(key) != actual[kind].get(key)
    ]
