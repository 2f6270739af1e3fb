"""The other opinion: what the database says, worked out without any of the code under test."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from tools.soak.stage import Stage
from tools.soak.worker import USERS

FLAGS = """
    SELECT key, enabled, rollout_percent, array(
        SELECT user_id FROM flagstaff_featureflag_allowed_users AS a WHERE a.featureflag_id = f.id
    )
    FROM flagstaff_featureflag AS f
"""
VALUES = "SELECT key, value::text FROM flagstaff_keyvaluestore"


def truth(stage: Stage) -> dict[str, Any]:
    """Who has which flag, and all values, by the database."""
    flags = {
        key: [user for user in USERS if enabled and (user in allowed or has(key, user, rollout))]
        for key, enabled, rollout, allowed in stage.rows(FLAGS)
    }
    return {
        "flags": flags,
        "values": {key: json.loads(value) for key, value in stage.rows(VALUES)},
    }


def has(key: str, user: int, rollout: int) -> bool:
    """Whether the user is among that share of all."""
    return int(sha256(f"{key}:{user}".encode()).hexdigest(), 16) % 100 < rollout


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What is not as it should be, in words."""
    return [
        f"{kind} {key}: {found[kind].get(key)} instead of {expected[kind].get(key)}"
        for kind in expected
        for key in sorted({*expected[kind], *found[kind]})
        if expected[kind].get(key) != found[kind].get(key)
    ]
