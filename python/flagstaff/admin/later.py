"""When an action is done if not now, and by whose approval: the last part of its page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.formats import date_format

from flagstaff._text import local_list, localized, say
from flagstaff._text.times import aware, local_time
from flagstaff.exceptions import FlagstaffError
from flagstaff.waiting.times import future_time

#: The names of the fields with the times and their zone, and of the button that asks a colleague. A
#: link may fill in the times.
AT, UNTIL, ZONE, REQUEST = "_at", "_until", "_zone", "_request"
# A day of the next week has the name of one of this week.
_DAYS_WITHOUT_A_DATE = timedelta(days=6)
_MAX_NAMES = 5


def _typed(request: HttpRequest) -> QueryDict:
    return request.POST if request.method == "POST" else request.GET


def wants_later(request: HttpRequest) -> bool:
    """Whether a time was typed, or the button pressed that asks a colleague."""
    texts = (_typed(request).get(name, "").strip() for name in (AT, UNTIL))
    return REQUEST in request.POST or any(texts)


def times_query(at: datetime | None, until: datetime | None = None) -> dict[str, str]:
    """Returns what fills in the times of a page, if they are to come."""
    if at is None or aware(at) <= aware(timezone.now()):
        return {}
    times = {AT: at, **({} if until is None else {UNTIL: until})}
    texts = {name: f"{local_time(time):%Y-%m-%dT%H:%M}" for name, time in times.items()}
    return {**texts, ZONE: timezone.get_current_timezone_name()}


class Later:
    """What was typed about the time and the approval of an action."""

    def __init__(self, request: HttpRequest, *, is_possible: bool, can_end: bool) -> None:
        """`can_end` is whether it begins something that another action ends."""
        typed, local_zone = _typed(request), timezone.get_current_timezone_name()
        self.is_possible, self.can_end = is_possible, can_end
        self.text = typed.get(AT, "").strip() if is_possible else ""
        self.until_text = typed.get(UNTIL, "").strip() if is_possible and can_end else ""
        self.is_request = is_possible and REQUEST in request.POST
        #: Whether the browser may fill in its own time zone.
        self.is_zone_open = ZONE not in typed
        self.zone = typed.get(ZONE, "").strip() or local_zone
        #: The times in their zone, or what is wrong with them.
        self.at: datetime | None = None
        self.until: datetime | None = None
        self.problem = ""
        zone = "" if self.zone == local_zone else f" {self.zone}"
        try:
            self.at = future_time(f"{self.text}{zone}") if self.text else None
            self.until = future_time(f"{self.until_text}{zone}") if self.until_text else None
        except FlagstaffError as error:
            self.problem = f"{localized(error.message)}."
        if self.until and not (self.at and self.at < self.until):
            self.problem = self.problem or say("A period begins at a time, and ends later.").local

    @property
    def times(self) -> tuple[datetime | None, datetime | None]:
        """The times that a person confirms."""
        return self.at, self.until

    def button(self, text: str) -> str:
        """Returns the text of the button, with the time of the action if it has one."""
        if self.at is None:
            return text
        if self.until is None:
            return say("{what} on {time}", what=text, time=day_and_time(self.at)).local
        begin, end = day_and_time(self.at, with_zone=False), day_and_time(self.until)
        return say("{what} from {begin} until {end}", what=text, begin=begin, end=end).local

    def request_button(self) -> str:
        """Returns the text of the button that asks a colleague, also with the time."""
        if self.at is None:
            return say("Request approval").local
        return say("Request approval for {time}", time=day_and_time(self.at)).local


def day_and_time(at: datetime, *, with_zone: bool = True) -> str:
    """Returns a time to come as a person says it: "Monday, 9:00 (Vienna)", in its own zone."""
    day = date_format(at, "l")
    if aware(at) - aware(timezone.now()) > _DAYS_WITHOUT_A_DATE:
        day = f"{day}, {date_format(at, 'DATE_FORMAT')}"
    zone = str(at.tzinfo).rpartition("/")[2].replace("_", " ")
    return f"{day}, {at.hour}:{at:%M}" + (f" ({zone})" if with_zone else "")


def colleagues_text(names: Sequence[str]) -> str:
    """Returns who can approve an action."""
    if not names:
        return say("Another user with the permission for it has to approve it.").local
    who = local_list(names, _MAX_NAMES)
    text = say("{names} can approve it.", "One of these has to approve it: {names}.")
    return say(text, count=len(names), names=who).local
