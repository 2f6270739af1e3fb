"""The extension module: evaluation, and the functions that control the engine."""

from collections.abc import Iterator, Mapping, Sequence
from types import GenericAlias, SimpleNamespace, TracebackType
from typing import Any, Generic, Literal, TypeVar, final, overload

from typing_extensions import Self

from flagstaff._text import Sentence
from flagstaff.typing import Context, UserLike

__all__ = [
    "BUCKETS",
    "MAX_UNIT_BYTES",
    "MAX_VARIANTS",
    "REGISTERS",
    "RULE_FORMAT",
    "Comparison",
    "DeclaredFlag",
    "DeclaredValue",
    "LoadedFlags",
    "Observation",
    "Resolution",
    "Snapshot",
    "ValueForm",
    "after_fork",
    "awaits_poll",
    "can_match",
    "check_parameters",
    "check_rules",
    "claim_interpreter",
    "client_side_units",
    "close_change_signal",
    "current",
    "declare",
    "flag_enabled",
    "fork_begins",
    "fork_ends",
    "get_value",
    "get_variant",
    "install",
    "is_refused",
    "is_storable",
    "is_waiting",
    "json_problem",
    "monotonic",
    "observed_request",
    "open_change_signal",
    "reconfigure",
    "refresh",
    "reset_attributes",
    "resolve_flag",
    "served_kind",
    "served_values",
    "set_forced_off",
    "set_forced_on",
    "set_listening",
    "set_overrides",
    "set_own_writes",
    "set_report_unknown",
    "shutdown",
    "snapshot",
    "start",
    "status_report",
    "stop",
    "stored_results",
    "texts",
]

_T = TypeVar("_T")

BUCKETS: int
"""The number of buckets of an experiment."""

MAX_UNIT_BYTES: int
"""The longest unit of an experiment."""

MAX_VARIANTS: int
"""The most variants of an experiment."""

REGISTERS: int
"""The number of registers of a HyperLogLog, which estimates how many different users were seen."""

RULE_FORMAT: int
"""The format of the rules that this version can read."""

def flag_enabled(
    key: str, user: UserLike = None, *, default: bool = False, context: Context = None
) -> bool:
    """Returns True if the flag `key` is on for `user`.

        if flag_enabled("new_checkout", request.user): ...

    The first of these decides: forced off in this process, False; nothing loaded yet or no such
    flag, `default`; disabled, False; an allowed user, True; the first targeting rule that matches,
    by its rollout; a rollout of 100 % or more, True; no user, False; otherwise whether the user's
    bucket is below the rollout. `default` also if the rules could never be read.

    `user` is a Django user, `request.user`, a bare primary key (int, str or uuid.UUID) or None. It
    is read only if the result depends on it. `context` maps names to values that rules may read
    beside the attributes of the user.

    Evaluates from memory and does not block; the first evaluation of a process waits for the first
    load, at most `STARTUP_TIMEOUT`, unless the flag is forced off. Never raises because of the
    database. Raises `TypeError` for a wrong type, and `UnknownFlagError` if `UNKNOWN_KEY` is
    "raise".
    """

def resolve_flag(
    key: str, user: UserLike = None, *, default: bool = False, context: Context = None
) -> Resolution[bool]:
    """Returns the result of `flag_enabled` with its reason. Counts as `flag_enabled` does.

    The variant is "on" or "off". Never raises for an unknown key. The user is read only if the
    result depends on it, so the reason of a flag at 100 % is STATIC for its allowed users, too.
    """

@overload
def get_value(
    key: str, default: None = None, *, user: UserLike = None, context: Context = None
) -> Any:
    """Returns the value `key` for `user`, or `default` if the key is unknown or nothing is loaded.

        page_size = get_value("page_size", default=20)

    The first rule of the value that matches decides, by its percentage; otherwise the result is
    what `KeyValueStore.objects.get(key=key).value` returns. `user` and `context` are those of
    `flag_enabled`; they matter only to rules.

    Returns a fresh list or dict each time. Evaluates from memory and does not block, as
    `flag_enabled`. Raises `TypeError` for a wrong type of `key`, `user` or `context`, and
    `UnknownValueError` if `UNKNOWN_KEY` is "raise".
    """

@overload
def get_value(
    key: str, default: _T, *, user: UserLike = None, context: Context = None
) -> Any | _T: ...
def served_kind(
    snapshot: Snapshot, key: str, *, client_side: bool
) -> Literal["flag", "value", "variant"] | None:
    """Returns what a key stands for, for a client outside of the process. Counts nothing.

    None for an unknown key and a secret value, and with `client_side` for everything but the flags
    that browsers may evaluate.
    """

def served_values(
    snapshot: Snapshot, user: UserLike, *, client_side: bool, context: Context
) -> dict[str, Resolution[Any]]:
    """Returns the values that services may read for `user`, by key, without those of flags.

    With `client_side`, those that browsers may read. Counts nothing and calls no listener.
    """

def client_side_units(snapshot: Snapshot) -> set[str]:
    """Returns the attributes that flags which browsers may evaluate are bucketed by.

    Also those of flags that these need.
    """

@overload
def get_variant(
    key: str, user: UserLike = None, *, default: None = None, context: Context = None
) -> str | None:
    """Returns the variant of the experiment `key` for `user`, or `default`. Records the exposure.

        button = get_variant("checkout_button", request.user, default="control")

    The first of these decides: forced off in this process, nothing loaded yet, no such experiment
    or one that does not run, `default`; a winner that was shipped, the winner; no unit, `default`;
    a unit with an override, its variant; rules of which none matches, `default`; a bucket that
    takes no part, a request of a crawler, or a new visitor above the limit of the hour, `default`;
    otherwise the variant of the unit's bucket.

    `user` and `context` are those of `flag_enabled`. Only what a bucket decides is recorded: in
    memory, and written to the database some seconds later. Evaluates from memory and does not
    block, as `flag_enabled`. Raises `TypeError` for a wrong type, and `UnknownExperimentError` if
    `UNKNOWN_KEY` is "raise".
    """

@overload
def get_variant(
    key: str, user: UserLike = None, *, default: _T, context: Context = None
) -> str | _T: ...
def stored_results(key: str) -> list[str]:
    """Returns the value of a key in memory and what its rules give, as JSON; nothing without a row.

    Does not block.
    """

@final
class ValueForm:
    """A declared value as workers know it. Immutable."""

    def __new__(
        cls,
        key: str,
        default: str,
        form: str,
        *,
        is_nullable: bool,
        choices: Sequence[str],
        is_secret: bool,
        client_side: bool,
        is_converted: bool,
    ) -> Self:
        """`default` and `choices` are JSON; `is_converted` if Python makes the objects.

        Raises `ValueError` for an unknown form.
        """

    def misfit(self, text: str) -> Sentence | None:
        """Returns why evaluations return the default in place of this JSON, or None.

        Without the JSON, which may be a secret.
        """

def declare(flags: Sequence[tuple[str, bool]], values: Sequence[ValueForm]) -> None:
    """Sets what code declares, in place of all that was declared before. Does not block.

    Of a flag the key, and whether it is client side.
    """

class DeclaredFlag:
    """The base of `Flag`, beside `str`. Without fields, so that both can be bases of one class."""

    def enabled(self, user: UserLike = None, *, context: Context = None) -> bool:
        """Returns True if the flag is on for `user`, as `flag_enabled` does."""

class DeclaredValue(Generic[_T]):
    """The base of `Value`, beside `str`. Without fields, so that both can be bases of one class."""

    def get(self, user: UserLike = None, *, context: Context = None) -> _T:
        """Returns the value for `user`, in its declared type."""

    def __class_getitem__(cls, parameters: object) -> GenericAlias: ...

def current(key: str | None = None) -> Snapshot:
    """Returns the newest snapshot, for one evaluation of `key` or of all flags. Does not block.

    In direct mode, the evaluation reads the rows of the key only.
    """

def snapshot(*, context: Context = None) -> Snapshot:
    """Returns all flags and values at this time, for evaluations that must be consistent.

        now = snapshot()
        now.flag_enabled("new_checkout", user), now.get_value("page_size", 20)

    All its evaluations have `context`; the context of a call precedes it. Copies nothing, and does
    not block: it keeps the current snapshot of the process. In direct mode, everything is read
    once. Before the first load, if a flag is forced off, the time is that of the first result that
    needs the database. Raises `TypeError` if `context` is not a mapping.
    """

@final
class Resolution(Generic[_T]):
    """A result, and how it came about. Immutable."""

    @property
    def value(self) -> _T:
        """The result, or the default of the call."""

    @property
    def reason(self) -> str:
        """`STATIC`, `DEFAULT`, `TARGETING_MATCH`, `SPLIT`, `DISABLED` or `ERROR`.

        For flags also `PREVIEW`; for variants `CRAWLER`, and `LIMIT` for a new visitor above
        `NEW_VISITORS_PER_HOUR`.
        """

    @property
    def error_code(self) -> str | None:
        """`PROVIDER_NOT_READY`, `FLAG_NOT_FOUND`, `PARSE_ERROR`, `TYPE_MISMATCH`, or `GENERAL`.

        `TYPE_MISMATCH` if the value is not as code declares it, `GENERAL` without a database. None
        unless the reason is ERROR.
        """

    @property
    def variant(self) -> str | None:
        """For a flag "on" or "off", the key of the variant for an experiment, None for a value.

        None with an error, and for a unit that gets no variant.
        """

    @property
    def rule(self) -> int | None:
        """The number of the targeting rule that decided, 1 for the first one."""

    def __class_getitem__(cls, key: object) -> GenericAlias: ...

@final
class LoadedFlags:
    """The flags that this process has when it is made.

    A later load of any flag ends the previews that are checked with it.
    """

    def __new__(cls) -> LoadedFlags: ...

@final
class Observation:
    """One request or task, as a context manager. Its end counts it for each of its users.

    Evaluations of flags with a rollout plan belong to the innermost block that they are in. An
    exception is a failure; a block that `SystemExit` or a cancellation ends is not counted, and
    neither is one without `is_counted`. `request` is what `observed_request()` returns, by default
    that of the block around it. `preview` has what its user previews, which a block in it with the
    same request has, too: the primary key as text, the results by key, and the flags from before
    they were checked.
    """

    failed: bool
    def __new__(
        cls,
        request: object = None,
        *,
        is_counted: bool = True,
        preview: tuple[str, Mapping[str, bool], LoadedFlags] | None = None,
    ) -> Observation: ...
    def exclude(self, seconds: float) -> None:
        """Leaves seconds out of the measured time, because the server has waited for its client."""

    def cancel(self) -> None:
        """Leaves the request out, because its client has ended it."""

    def __enter__(self) -> Observation: ...
    def __exit__(
        self,
        _of_type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None: ...

def observed_request() -> Any:
    """Returns the request of the innermost `Observation`; None outside of one and after its end."""

@final
class Snapshot:
    """All flags and values at one time. Its methods work like the functions of the same name."""

    @property
    def ready(self) -> bool:
        """Whether a snapshot has been loaded."""

    @property
    def token(self) -> int | None:
        """The id of the newest change token in this snapshot; None if there is none."""

    def flag_enabled(
        self, key: str, user: UserLike = None, *, default: bool = False, context: Context = None
    ) -> bool:
        """Returns True if the flag `key` is on for `user` in this snapshot."""

    def resolve_flag(
        self, key: str, user: UserLike = None, *, default: bool = False, context: Context = None
    ) -> Resolution[bool]:
        """Returns the result of `flag_enabled` with its reason, also for an unknown key."""

    @overload
    def resolve_value(
        self, key: str, default: None = None, *, user: UserLike = None, context: Context = None
    ) -> Resolution[Any]:
        """Returns the result of `get_value` with its reason, also for an unknown key."""

    @overload
    def resolve_value(
        self, key: str, default: _T, *, user: UserLike = None, context: Context = None
    ) -> Resolution[Any | _T]: ...
    @overload
    def resolve_variant(
        self, key: str, user: UserLike = None, *, default: None = None, context: Context = None
    ) -> Resolution[str | None]:
        """Returns the result of `get_variant` with its reason, and records as it does."""

    @overload
    def resolve_variant(
        self, key: str, user: UserLike = None, *, default: _T, context: Context = None
    ) -> Resolution[str | _T]: ...
    def kind_of(self, key: str) -> Literal["flag", "value", "variant"] | None:
        """Returns what a key stands for; None for an unknown key. Counts nothing.

        A flag precedes a value, and a value an experiment, whose evaluations are variants.
        """

    def is_off(self, key: str) -> bool:
        """Returns True if the flag `key` is off for every user, or if nothing has been loaded.

        False if there is no such flag. Counts nothing.
        """

    @overload
    def get_value(
        self, key: str, default: None = None, *, user: UserLike = None, context: Context = None
    ) -> Any:
        """Returns the value `key` for `user` in this snapshot, or `default` if there is none."""

    @overload
    def get_value(
        self, key: str, default: _T, *, user: UserLike = None, context: Context = None
    ) -> Any | _T: ...
    @overload
    def get_variant(
        self, key: str, user: UserLike = None, *, default: None = None, context: Context = None
    ) -> str | None:
        """Returns the variant of `key` for `user` in this snapshot, or `default`. Records it."""

    @overload
    def get_variant(
        self, key: str, user: UserLike = None, *, default: _T, context: Context = None
    ) -> str | _T: ...
    @overload
    def peek_variant(
        self, key: str, user: UserLike = None, *, default: None = None, context: Context = None
    ) -> str | None:
        """Returns the result of `get_variant`. Records nothing."""

    @overload
    def peek_variant(
        self, key: str, user: UserLike = None, *, default: _T, context: Context = None
    ) -> str | _T: ...
    def explain(
        self,
        key: str,
        user: UserLike = None,
        *,
        context: Context = None,
        kind: Literal["flag", "value", "variant"] = "flag",
    ) -> dict[str, Any]:
        """Returns what `flagstaff.explain` makes an `Explanation` of, or that of another kind."""

    def all_flags(
        self, user: UserLike = None, *, client_side: bool = False, context: Context = None
    ) -> dict[str, bool]:
        """Returns the result of every flag for `user`, by key, from this snapshot."""

    def resolve_all_flags(
        self, user: UserLike = None, *, client_side: bool = False, context: Context = None
    ) -> dict[str, Resolution[bool]]:
        """Returns the same results with their reasons. Counts and reports as `all_flags` does."""

    def depends_on_user(self, key: str) -> bool:
        """Returns True if the result of the flag or the value `key` depends on the user."""

    def changed_keys(self, older: Snapshot) -> list[str]:
        """Returns the keys of flags, values and experiments whose result can differ, in order."""

    def attribute_names(self, key: str | None = None) -> set[str]:
        """Returns the attributes that the flag and the value `key` read, or all flags."""

def reset_attributes() -> None:
    """Reads the setting ATTRIBUTES again at the next evaluation that needs it."""

def install(hooks: SimpleNamespace) -> None:
    """Sets what the extension calls in this process. Later calls change nothing."""

def start(*, in_memory: bool = False, wait: bool = True) -> bool:
    """Starts the engine unless that is done, and waits for the first load.

    Returns True if there is an engine, False if the process evaluates directly. Blocks for at most
    `STARTUP_TIMEOUT`, not at all without `wait`. Raises `ConfigurationError` if the settings are
    not usable.
    """

def reconfigure(settings: Mapping[str, str], of_reports: Mapping[str, str] | None = None) -> bool:
    """Sets the connection parameters, and those for reports. Does not block.

    Returns True if the first ones changed. Raises `ConfigurationError` if they are not usable; the
    previous ones stay in use.
    """

def check_parameters(parameters: Mapping[str, str]) -> None:
    """Raises `ConfigurationError` if an engine cannot use parameters. Does not connect."""

def is_refused() -> bool:
    """Returns True if there is no connection because the server refused the login."""

def is_waiting() -> bool:
    """Returns True if the first load has not finished and may still succeed. Does not block."""

def is_storable(text: str) -> bool:
    """Returns True if a text column can hold it: it has no NUL and no half of a surrogate pair."""

def json_problem(text: str) -> Sentence | None:
    """Returns why Python cannot decode a JSON text; None if it can. Does not check the syntax."""

def check_rules(text: str, kind: Literal["flag", "value", "segment"] = "flag") -> Sentence | None:
    """Returns the first problem of rules in JSON, after its places; None without one.

    Those of a segment are its conditions. Raises `UnicodeEncodeError` for half of a surrogate pair
    outside of an escape.
    """

def can_match(operator: str, values: str, attribute: object) -> bool:
    """Returns False if none of the values, a JSON list, can match an attribute of this type."""

def texts() -> list[str]:
    """Returns the English of all texts of the extension, for the catalogue."""

def monotonic() -> float:
    """Returns seconds of a clock that tools for tests, such as freezegun, do not stop."""

def set_overrides(
    flags: Mapping[str, bool],
    values: Mapping[str, str],
    variants: Mapping[str, str | None],
    flags_of_users: Mapping[str, Mapping[str, bool]],
) -> None:
    """Replaces all test overrides by these. Does not block."""

def set_forced_off(keys: Sequence[str]) -> None:
    """Turns off the flags and experiments with these keys in this process, and no others.

    Does not block.
    """

def set_forced_on(keys: Sequence[str]) -> None:
    """Turns on the flags with these keys in this process, and no others.

    Those that are forced off stay off. Does not block.
    """

def set_listening(is_listening: bool) -> None:
    """Sets whether evaluations call the listeners of this process. Does not block."""

def set_report_unknown(report_unknown: bool) -> None:
    """Sets whether unknown keys are reported. Called when the settings change, in a test."""

def set_own_writes(own_writes: bool) -> None:
    """Sets whether any `read_own_writes` block is open. Does not block."""

@final
class Comparison:
    """The rows of some flags, values and experiments before a change and after it."""

    def __new__(
        cls,
        before: tuple[Any, ...],
        after: tuple[Any, ...],
        keys: Sequence[tuple[str, str]],
    ) -> Comparison:
        """Takes rows as `direct.read_all` returns them, and "flag", "value" or "experiment".

        The flags that rules need must be among the rows: others are unknown, and conditions on them
        false. Reads the groups that rules name; raises `NotReadyError` if that fails. Rules that
        cannot be read after the change stay those of before, as in a worker.
        """

    def attributes(self) -> list[tuple[set[str], set[str]] | None]:
        """Returns what the results of each key depend on, before and after.

        That includes bucketing units and needed flags. None stands for unreadable rules.
        """

    def count(
        self, users: Iterator[tuple[Any, ...]], names: Sequence[str]
    ) -> tuple[int, list[tuple[int, int, int, int, int]]]:
        """Returns for how many of the users some result differs, and the users of each key.

        These are who gain a flag, lose it, have it before and after, and whose result differs. A
        user is a primary key, None for an anonymous one, and the attributes that `names` has.
        Others are unknown, and conditions on them false. Raises what iterating over `users` raises.
        """

def awaits_poll() -> bool:
    """Returns True if a request should wait for a poll that is overdue, and asks for the poll.

    It is overdue after the process was suspended, for example. Returns True for at most 0.3 s in an
    outage. Does not block.
    """

def refresh(timeout: float) -> None:
    """Loads everything now. Releases the GIL; blocks for at most `timeout` seconds.

    Raises `RefreshError` if that fails, and what a signal handler raises meanwhile.
    """

def stop(timeout: float) -> bool:
    """Stops the engine and drops the snapshot; returns True if it stopped within `timeout`.

    Releases the GIL; blocks.
    """

def shutdown(timeout: float) -> None:
    """Stops the engine at process exit, and keeps the snapshot. Releases the GIL; blocks."""

def claim_interpreter(interpreter: int) -> None:
    """Raises `ConfigurationError` in a second interpreter of the process. Does not block."""

def open_change_signal() -> int:
    """Opens a socket and returns its descriptor, which the caller owns. Does not block.

    It gets bytes when a snapshot is published or the refresh mode changes. An earlier socket gets
    the end of its stream. Raises `OSError`.
    """

def close_change_signal() -> None:
    """Ends the stream of the socket. Does not block."""

def fork_begins() -> None:
    """Notes that this process begins to fork. Does not block."""

def fork_ends() -> None:
    """Notes, in the parent, that the fork has ended. Does not block."""

def after_fork() -> None:
    """Detaches a forked child from its parent's engine. Does not block."""

def status_report() -> dict[str, Any]:
    """Returns the data of `flagstaff.status()`. Does not block."""
