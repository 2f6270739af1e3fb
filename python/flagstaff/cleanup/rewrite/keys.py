"""The flags that exist, and which of them need flagstaff.compat to be evaluated as in waffle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.apps import apps

from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import all_rows
from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.rewrite import reasons
from flagstaff.cleanup.rewrite.reasons import Reason
from flagstaff.compat.converting import LANGUAGE_ATTRIBUTE, TEST_ATTRIBUTE
from flagstaff.compat.names import key_of
from flagstaff.compat.rows import overridden_methods, waffle_model
from flagstaff.compat.settings import WaffleKind, setting_of_waffle, waffle_settings
from flagstaff.conf import conf
from flagstaff.serialization import Document

_ALL = 100
_CONTEXT = {LANGUAGE_ATTRIBUTE: "the language", TEST_ATTRIBUTE: "waffle's test parameter"}


@dataclass(frozen=True)
class KnownFlag:
    """What decides whether a flag can be evaluated without flagstaff.compat."""

    rules: str = "[]"
    percent: int = _ALL
    has_users: bool = False

    @property
    def is_same_for_all(self) -> bool:
        """Whether all users have the same result."""
        is_clear = self.percent == _ALL or (self.percent == 0 and not self.has_users)
        return self.rules == "[]" and is_clear


class Keys:
    """Answers for which names of waffle a place can be rewritten."""

    def __init__(self, flags: Mapping[str, KnownFlag], segments: Mapping[str, str]) -> None:
        self._flags = flags
        self._segments = segments

    @staticmethod
    def key_of(source: str, name: str) -> str:
        """Returns the key of what waffle knows by a name."""
        return key_of(cast("WaffleKind", source), name)

    @staticmethod
    def has_default(source: str) -> bool:
        """Whether waffle's default for missing flags, switches or samples is on."""
        return bool(setting_of_waffle(f"{source.upper()}_DEFAULT"))

    def problem(self, source: str, name: str, kind: Kind, *, for_user: bool) -> Reason | None:
        """Returns why a place with this name has to stay with waffle, or None.

        `for_user`: the new place evaluates for the user of the request.
        """
        key = self.key_of(source, name)
        flag = self._flags.get(key)
        if flag is None:
            return reasons.no_flag(key)
        if not waffle_settings().serves(name) or self._is_overridden(source):
            return reasons.not_served(name)
        if kind == Kind.TEST:
            return None
        if source == "switch":
            is_safe = not for_user or flag.is_same_for_all
            return None if is_safe else reasons.depends_on_user(key)
        return self._needed(key, flag)

    def _needed(self, key: str, flag: KnownFlag) -> Reason | None:
        for attribute, what in _CONTEXT.items():
            if self._reads(flag.rules, attribute):
                return reasons.needs_compat(key, what)
        if setting_of_waffle("OVERRIDE"):
            return reasons.needs_compat(key, "a parameter of the URL (WAFFLE_OVERRIDE)")
        if 0 < flag.percent < _ALL and waffle_settings().keeps_cookies:
            return reasons.needs_compat(key, "waffle's cookie")
        return None

    def _reads(self, rules: str, attribute: str) -> bool:
        # Also by a segment, whose conditions name no other segments.
        used = (text for name, text in self._segments.items() if json.dumps(name) in rules)
        return any(json.dumps(attribute) in text for text in (rules, *used))

    @staticmethod
    def _is_overridden(source: str) -> bool:
        if not apps.is_installed("waffle"):
            return False
        return bool(overridden_methods(waffle_model(cast("WaffleKind", source))))


def stored_keys() -> Keys:
    """Returns the keys of the database. Makes three queries."""
    model = conf.flag_model
    users = set(all_rows(model).filter(allowed_users__isnull=False).values_list("key", flat=True))
    rows = all_rows(model).values_list("key", "rules", "rollout_percent")
    flags = {key: KnownFlag(_text(rules), percent, key in users) for key, rules, percent in rows}
    return Keys(flags, _segments(all_rows(segment_model()).values()))


def _segments(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {row["key"]: json.dumps(row, default=str) for row in rows}


def exported_keys(document: Document) -> Keys:
    """Returns the keys of a file that `flags export` has written."""
    flags: dict[str, KnownFlag] = {}
    segments: dict[str, str] = {}
    for item in document.items:
        fields = item.fields
        if item.kind.name == "SEGMENT":
            segments[item.key] = _text(dict(fields))
        elif item.kind.name == "FLAG":
            percent = cast("int", fields.get("rollout_percent", 0))
            rules = _text(fields.get("rules", []))
            flags[item.key] = KnownFlag(rules, percent, bool(item.users))
    return Keys(flags, segments)


def _text(rules: object) -> str:
    return rules if isinstance(rules, str) else json.dumps(rules)
