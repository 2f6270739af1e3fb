"""A provider of OpenFeature: its SDK evaluates flags, values and experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, Protocol, TypeAlias, TypeGuard, TypeVar, cast

from asgiref.sync import sync_to_async
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import (
    FlagMetadata,
    FlagResolutionDetails,
    FlagValueType,
    Reason,
)
from openfeature.provider import AbstractProvider, FeatureProvider, Metadata

from flagstaff import _core, ready
from flagstaff._connection import DATABASE_ERRORS
from flagstaff._declared import json_of
from flagstaff._engine import change_watch
from flagstaff._request.flags import aobserved_snapshot, observed_snapshot
from flagstaff._request.user import once_per_request
from flagstaff.conf import conf
from flagstaff.typing import Context, UserLike

__all__ = ["FlagstaffProvider"]

_T = TypeVar("_T")
_Object: TypeAlias = Sequence[FlagValueType] | Mapping[str, FlagValueType]
_OnEmit: TypeAlias = Callable[[FeatureProvider, ProviderEvent, ProviderEventDetails], None]


class _ContextError(Exception):
    """The evaluation context names two users."""


class _Events:
    """Emits events. At the end of the process, the SDK raises RuntimeError."""

    def __init__(self, provider: AbstractProvider) -> None:
        self._provider = provider

    def became_ready(self) -> None:
        with suppress(RuntimeError):
            self._provider.emit_provider_ready(ProviderEventDetails())

    def became_stale(self, why: str) -> None:
        with suppress(RuntimeError):
            self._provider.emit_provider_stale(ProviderEventDetails(message=why))

    def changed(self, keys: list[str]) -> None:
        with suppress(RuntimeError):
            details = ProviderEventDetails(flags_changed=keys)
            self._provider.emit_provider_configuration_changed(details)


_KINDS = {"flag": "a flag", "value": "a value", "variant": "an experiment"}
_MESSAGES = {
    "PROVIDER_NOT_READY": "flagstaff has loaded nothing yet",
    "FLAG_NOT_FOUND": "there is no flag, value or experiment {key!r}",
    "PARSE_ERROR": "the rules of {key!r} cannot be read",
    "TYPE_MISMATCH": "the value {key!r} is not what code declares",
    "GENERAL": "the database failed while the user or an attribute was read",
}


def _details(key: str, resolution: _core.Resolution[_T]) -> FlagResolutionDetails[_T]:
    if resolution.error_code is not None:
        message = _MESSAGES[resolution.error_code].format(key=key)
        return _error(resolution.value, ErrorCode(resolution.error_code), message)
    return _succeeded(resolution.value, resolution)


def _succeeded(value: _T, resolution: _core.Resolution[Any]) -> FlagResolutionDetails[_T]:
    metadata: FlagMetadata = {} if resolution.rule is None else {"rule": resolution.rule}
    return FlagResolutionDetails(
        value, reason=resolution.reason, variant=resolution.variant, flag_metadata=metadata
    )


def _error(default: _T, code: ErrorCode, message: str) -> FlagResolutionDetails[_T]:
    return FlagResolutionDetails(default, code, message, Reason.ERROR)


def _as_boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _as_string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _as_integer(value: object) -> int | None:
    if isinstance(value, float):
        with suppress(OverflowError, ValueError):
            whole, parts = value.as_integer_ratio()
            return whole if parts == 1 else None
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _as_float(value: object) -> float | None:
    if isinstance(value, int) and not isinstance(value, bool):
        with suppress(OverflowError):
            return float(value) if float(value) == value else None
    return value if isinstance(value, float) else None


def _as_object(value: object) -> _Object | None:
    return value if isinstance(value, dict | list) else None


class _Resolve(Protocol[_T]):
    def __call__(
        self, evaluator: _core.Snapshot, key: str, default: _T, user: UserLike, context: Context, /
    ) -> FlagResolutionDetails[_T]: ...


def _resolver(
    converted: Callable[[Any], _T | None], kind: Literal["flag", "variant"] | None
) -> _Resolve[_T]:
    """Returns what resolves a key of one type: a flag, a variant, or a value of this type.

    `converted` returns None for a value of another type.
    """

    def resolve(
        evaluator: _core.Snapshot, key: str, default: Any, user: UserLike, context: Context
    ) -> FlagResolutionDetails[Any]:
        found_kind = evaluator.kind_of(key)
        resolution: _core.Resolution[Any]
        if kind == "flag" and found_kind in {"flag", None}:
            resolution = evaluator.resolve_flag(key, user, default=default, context=context)
            return _details(key, resolution)
        if kind == found_kind == "variant":
            resolution = evaluator.resolve_variant(key, user, default=default, context=context)
            return _details(key, resolution)
        resolution = evaluator.resolve_value(key, default, user=user, context=context)
        if resolution.error_code is None:
            stored = json_of(key, resolution.value)
            value = converted(stored)
            if value is not None:
                return _succeeded(value, resolution)
            message = f"the value {key!r} is of type {type(stored).__name__}"
        elif found_kind in {"value", None}:
            return _details(key, resolution)
        else:
            message = f"{key!r} is the key of {_KINDS[found_kind]}"
        return _error(default, ErrorCode.TYPE_MISMATCH, message)

    return resolve


def _resolved(
    resolve: _Resolve[_T],
    key: str,
    default: _T,
    evaluation_context: EvaluationContext | None,
    observed: tuple[_core.Snapshot, UserLike] | None = None,
) -> FlagResolutionDetails[_T]:
    """Evaluates for the user of the context or of the request; `observed` if async code read it."""
    try:
        context = _attributes(evaluation_context)
        if _names_user(evaluation_context):
            return resolve(_core.current(key), key, default, _user_of(evaluation_context), context)
        evaluator, user = observed or observed_snapshot() or (_core.current(key), None)
        return resolve(evaluator, key, default, user, context)
    except (_ContextError, TypeError) as error:
        return _error(default, ErrorCode.INVALID_CONTEXT, str(error))


async def _aresolved(
    resolve: _Resolve[_T],
    key: str,
    default: _T,
    evaluation_context: EvaluationContext | None,
) -> FlagResolutionDetails[_T]:
    if not _names_user(evaluation_context):
        if observed := await aobserved_snapshot(key, _attributes(evaluation_context)):
            return _resolved(resolve, key, default, evaluation_context, observed)
    elif conf.attributes.callable is not None:
        # The function may query the database, which Django forbids in an event loop.
        return await sync_to_async(_resolved)(resolve, key, default, evaluation_context)
    return _resolved(resolve, key, default, evaluation_context)


def _names_user(evaluation_context: EvaluationContext | None) -> TypeGuard[EvaluationContext]:
    if evaluation_context is None:
        return False
    return (
        bool(evaluation_context.targeting_key)
        or evaluation_context.attributes.get("user") is not None
    )


def _attributes(evaluation_context: EvaluationContext | None) -> dict[str, object] | None:
    """Returns what rules may read. It is a copy without the user."""
    if evaluation_context is None or not evaluation_context.attributes:
        return None
    attributes: dict[str, object] = dict(evaluation_context.attributes)
    attributes.pop("user", None)
    return attributes


def _user_of(evaluation_context: EvaluationContext) -> UserLike:
    """Returns the user object, or else the targeting key, which is a primary key."""
    key = evaluation_context.targeting_key or None
    user: Any = evaluation_context.attributes.get("user")
    if key is None or user is None:
        return user if key is None else key
    try:
        with once_per_request(user):
            pk = getattr(user, "pk", None)
    except DATABASE_ERRORS:
        # The evaluation logs it and returns the default, if it needs the user.
        return cast("UserLike", user)
    if pk is None:
        return key
    if str(pk) != str(key):
        raise _ContextError(
            f"the targeting key {key!r} is not the primary key of the attribute user, {pk!r}"
        )
    return cast("UserLike", user)


def _methods(
    converted: Callable[[Any], _T | None], kind: Literal["flag", "variant"] | None = None
) -> tuple[Any, Any]:
    """Returns the method of the provider for one type, and the one for async code."""
    resolve = _resolver(converted, kind)

    def resolve_details(
        _provider: FlagstaffProvider,
        flag_key: str,
        default_value: _T,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[_T]:
        return _resolved(resolve, flag_key, default_value, evaluation_context)

    async def resolve_details_async(
        _provider: FlagstaffProvider,
        flag_key: str,
        default_value: _T,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[_T]:
        return await _aresolved(resolve, flag_key, default_value, evaluation_context)

    return resolve_details, resolve_details_async


class FlagstaffProvider(AbstractProvider):
    """Evaluates flags, values and experiments for clients of OpenFeature.

        openfeature.api.set_provider(FlagstaffProvider())
        openfeature.api.get_client().get_boolean_value("new_checkout", False)

    Without a targeting key, a view evaluates for the user of its request. The targeting key is the
    primary key of a user; the attribute `user` may hold the user object. Other attributes are what
    rules read. Evaluations do not block, and query only for the user and its attributes.

    A boolean is a flag, or a value that is True or False; a string is the variant of an experiment,
    which is recorded, or a value that is a text; an integer, a float that can represent the number,
    and an object (a list or a dict, as a new one) are values. Async methods read the user of the
    request by `request.auser()`.

    `timeout` is the number of seconds that the initialization waits for the first load.
    """

    def __init__(self, *, timeout: float = 8.0) -> None:
        super().__init__()
        self._timeout = timeout
        self._watch: change_watch.Watch | None = None

    def get_metadata(self) -> Metadata:
        """Returns the name of the provider."""
        return Metadata(name="flagstaff")

    def attach(self, on_emit: _OnEmit) -> None:
        """Prepares the events. The SDK calls it first.

        A process may fork before the thread that initializes the provider has begun.
        """
        super().attach(on_emit)
        self._watch = self._watch or change_watch.add(_Events(self))

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Starts the engine and waits for the first load, at most `timeout` seconds.

        Raises ProviderNotReadyError if nothing is loaded by then; evaluations return the default of
        the code, and the provider becomes ready as soon as the load succeeds.
        """
        watch = self._watch = self._watch or change_watch.add(_Events(self))
        watch.state = "starting"
        has_engine = _core.start(wait=False)
        is_ready = ready(self._timeout)
        if has_engine:
            change_watch.begin(watch)
        else:
            self.shutdown()
        if not is_ready:
            why = _core.status_report()["mode_reason"] or "the first load takes too long"
            raise ProviderNotReadyError(f"flagstaff has loaded nothing: {why}")

    def shutdown(self) -> None:
        """Stops the events. The engine goes on, for the other functions of flagstaff."""
        watch, self._watch = self._watch, None
        if watch is not None:
            change_watch.remove(watch)

    resolve_boolean_details, resolve_boolean_details_async = _methods(_as_boolean, "flag")
    resolve_string_details, resolve_string_details_async = _methods(_as_string, "variant")
    resolve_integer_details, resolve_integer_details_async = _methods(_as_integer)
    resolve_float_details, resolve_float_details_async = _methods(_as_float)
    resolve_object_details, resolve_object_details_async = _methods(_as_object)
