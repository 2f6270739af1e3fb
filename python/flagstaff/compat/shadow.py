"""Evaluates beside waffle, which decides, and counts where the results differ.

The counts are kept in the extension, and its own connection writes them. An evaluation queries
nothing on the connection of the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from django.db.models import Model
from django.utils.encoding import escape_uri_path
from django.utils.functional import LazyObject, empty

from flagstaff import _core
from flagstaff._engine.log_once import log_once, place_of
from flagstaff.compat.causes import URGENT, Cause
from flagstaff.compat.converting import TEST_ATTRIBUTE
from flagstaff.compat.evaluating import (
    UnsavedUser,
    context_of,
    context_of_sample,
    is_decided_by_url,
    kept_by_cookie,
    resolve,
    user_of,
)
from flagstaff.compat.names import key_of
from flagstaff.compat.rows import overridden_methods
from flagstaff.compat.settings import WaffleKind, waffle_settings
from flagstaff.compat.stale_rows import Counted, count_when_checked
from flagstaff.validators import KEY_MAX_LENGTH

# Not that of the module `random`, whose sequence a project may have seeded.
_random = Random()  # noqa: S311 (no secret)
_ALL = 100
# Python looks members of an Enum up slowly, and nearly all results are equal.
_EQUAL, _EQUAL_TEXT = Cause.EQUAL, Cause.EQUAL.value
_NO_FLAG, _NOT_READY = "FLAG_NOT_FOUND", "PROVIDER_NOT_READY"


def compare(kind: WaffleKind, row: Any, request: Any, result: object) -> None:
    """Counts whether flagstaff has the same result as waffle for a row of it. Raises nothing.

    `request` is None for switches and samples. Sets no cookie. Does nothing unless the process
    evaluates from memory.
    """
    try:
        share = waffle_settings().shadow
        if share >= 1 or _random.random() < share:
            _compare(kind, row, request, is_on=bool(result))
    except Exception as error:  # noqa: BLE001 (the result of waffle counts, whatever happens here)
        message = "the results of waffle and flagstaff cannot be compared"
        log_once("shadow", kind, f"{message}: {place_of(error)}")


def _compare(kind: WaffleKind, row: Any, request: Any, *, is_on: bool) -> None:
    name = str(row.name)
    model: type[Model] = type(row)
    # Nothing but waffle can evaluate these, so they are not imported.
    if overridden_methods(model) or len(name) > KEY_MAX_LENGTH:
        return
    # No evaluation may read the cookie of the visitor, or draw an id for it.
    context: dict[str, object] = {"visitor": None}
    user = None
    if request is not None:
        if is_decided_by_url(name, request):
            return
        user = _known(user_of(request))
        context.update(context_of(name, request))
    elif kind == "sample":
        context.update(context_of_sample(_random))
    evaluation = _Evaluation(kind, row, request, is_on, key_of(kind, name), user, context)
    found = evaluation.resolve()
    if found is None:
        return
    error = found.error_code
    if error == _NOT_READY or (error == _NO_FLAG and row.pk is None):
        # Nothing is loaded, or neither side has it.
        return
    cause = evaluation.cause(found)
    if cause is _EQUAL:
        _core.count_difference(kind, name, _EQUAL_TEXT, is_on, is_on, "", "")
        return
    example = _pk_of(user), _path_of(request)
    counted = Counted(kind, name, cause.value, is_on, found.value, *example)
    if cause in URGENT and cause is not Cause.NO_FLAG:
        count_when_checked(row, counted, evaluation.is_equal_now)
    else:
        _core.count_difference(*counted)


def _known(user: Any) -> Any:
    """Returns the user; None for a lazy one without which waffle has decided.

    To load it would query, and make the response vary by the cookie of the session.
    """
    is_lazy = isinstance(user, LazyObject)
    return None if is_lazy and user.__dict__.get("_wrapped", empty) is empty else user


def _pk_of(user: Any) -> str:
    """Returns the primary key as text; empty for a user who is not known."""
    if user is None or type(user) is UnsavedUser:
        return ""
    return "" if user.pk is None else str(user.pk)


def _path_of(request: Any) -> str:
    """Returns the path without the query; its route if a view gets parts of it.

    Such a part may be a secret, as in the link of a new password. The path is ASCII: one that the
    database cannot store would lose all counts that are written with it.
    """
    match = getattr(request, "resolver_match", None)
    if match is not None and (match.args or match.kwargs):
        return f"/{match.route}"
    return escape_uri_path(getattr(request, "path", ""))


@dataclass
class _Evaluation:
    """What waffle has evaluated, and what flagstaff evaluates beside it."""

    kind: WaffleKind
    row: Any
    request: Any
    #: The result of waffle.
    is_on: bool
    key: str
    user: Any
    context: dict[str, object]
    #: The flag's own rollout of 1 to 99 %, if it has decided.
    split: int | None = None

    def resolve(self) -> _core.Resolution[bool] | None:
        """Returns the result of flagstaff; None unless the process evaluates from memory."""
        self.split = None
        return resolve(
            self.key, self.request, self.user, self.context, own=self._own, is_counted=False
        )

    def is_equal_now(self) -> bool:
        """Whether flagstaff has waffle's result after it has loaded a change."""
        found = self.resolve()
        return found is not None and self.cause(found) is _EQUAL

    def _own(self, rollout: int) -> bool | None:
        """Returns what waffle has drawn. Called if the flag's own rollout of 1 to 99 % decides."""
        self.split = rollout
        # Without a user, waffle does not reach its percentage.
        return None if self.user is None else self._drawn

    @property
    def _drawn(self) -> bool | None:
        """What waffle has drawn in this request or an earlier one."""
        if self.kind != "flag" or not self.row.percent:
            return None
        drawn = getattr(self.request, "waffles", {}).get(self.row.name)
        return kept_by_cookie(self.row.name, self.request) if drawn is None else bool(drawn[0])

    def cause(self, found: _core.Resolution[bool]) -> Cause:
        """Returns EQUAL, or why the results differ."""
        error = found.error_code
        if error == _NO_FLAG:
            # Also if waffle's result is False: flagstaff cannot serve it.
            return Cause.NO_FLAG
        if self.kind == "sample" and error is None and self.row.pk is not None:
            return self._cause_of_sample(found)
        if found.value is self.is_on:
            return _EQUAL
        if type(self.user) is UnsavedUser:
            return Cause.UNSAVED_USER
        decided = {self._decided_here(found), self._decided_there()}
        if Cause.RULE in decided:
            return Cause.RULE
        # A flag that is off or at 100 % on one side only was changed there: nobody expects that.
        return Cause.PERCENTAGE if decided == {Cause.PERCENTAGE} else Cause.OTHER

    def _decided_here(self, found: _core.Resolution[bool]) -> Cause:
        if found.rule is not None or found.reason == "TARGETING_MATCH":
            return Cause.RULE
        return Cause.PERCENTAGE if self.split else Cause.OTHER

    def _decided_there(self) -> Cause:
        """Returns what has decided in waffle. Reads only the row and the request."""
        row = self.row
        if self.kind != "flag" or row.pk is None or row.everyone is not None:
            return Cause.OTHER
        is_test = row.testing and TEST_ATTRIBUTE in self.context
        # What precedes the percentage can only turn a flag on.
        if is_test or (self.is_on and self._drawn is not True):
            return Cause.RULE
        return Cause.PERCENTAGE if row.percent else Cause.OTHER

    def _cause_of_sample(self, found: _core.Resolution[bool]) -> Cause:
        """Compares the percentages: both results are random, so one says nothing of the other."""
        if self._decided_here(found) is Cause.RULE:
            return Cause.RULE
        rollout = self.split or (_ALL if found.value else 0)
        return _EQUAL if _is_rounded(float(self.row.percent), rollout) else Cause.OTHER


def _is_rounded(percent: float, rollout: int) -> bool:
    """Whether an import could have made this rollout of the percentage of a sample."""
    is_near = abs(percent - rollout) < 1
    return is_near and (percent > 0) == (rollout > 0) and (percent < _ALL) == (rollout < _ALL)
