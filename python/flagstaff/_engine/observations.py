"""Observes requests and tasks for rollout plans: their users and time, and whether they failed."""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, final

from flagstaff import _core

__all__ = ["NotObserved", "Observed"]

_current: Final[ContextVar[_core.Observation | None]] = ContextVar(
    "flagstaff_observation", default=None
)
_core.observe_in(_current)


@final
class Observed:
    """A request or task. Evaluations in the block belong to it, and its end counts it.

    An exception is a failure; a cancelled block, such as one that SystemExit ends, is not counted.
    Blocks may be nested: an evaluation belongs to the innermost one.
    """

    __slots__ = ("_observation", "_token", "failed")

    _token: Token[_core.Observation | None]

    def __init__(self) -> None:
        #: Whether the request has failed without an exception, as a response of status 500 has.
        self.failed = False
        self._observation = _core.Observation()

    def __enter__(self) -> Observed:
        self._token = _current.set(self._observation)
        return self

    def __exit__(
        self,
        of_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._token)
        if error is None or isinstance(error, Exception):
            self._observation.end(self.failed or error is not None)


@final
class NotObserved:
    """A request of a project without rollout plans."""

    __slots__ = ("failed",)

    def __init__(self) -> None:
        self.failed = False

    def __enter__(self) -> NotObserved:
        return self

    def __exit__(self, *error: object) -> None:
        """Does nothing."""
