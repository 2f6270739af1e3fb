"""The events of rows, as tests compare them."""

from flagstaff.history import Change, Event, Kind, events


def history_of(kind: Kind, key: str | None = None) -> list[Event]:
    """Returns the events of a row, newest first; without a key, of all rows of the kind."""
    entries = Change.objects.of_kinds([kind])
    return [*events((entries if key is None else entries.of(kind, key)).newest())]


def flag_history(key: str | None = None) -> list[Event]:
    """Returns the events of a flag and its allowed users, newest first."""
    return history_of(Kind.FLAG, key)


def value_history(key: str | None = None) -> list[Event]:
    """Returns the events of a value, newest first."""
    return history_of(Kind.VALUE, key)


def segment_history(key: str | None = None) -> list[Event]:
    """Returns the events of a segment, newest first."""
    return history_of(Kind.SEGMENT, key)


def all_events() -> list[Event]:
    """Returns the events of flags, values and segments together, newest first."""
    return [*events(Change.objects.newest())]


def newest_entry() -> int:
    """Returns the id of the newest entry; 0 if there is none."""
    return Change.objects.order_by("-id").values_list("id", flat=True).first() or 0
