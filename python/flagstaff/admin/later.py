"""When an action is done if not now, and by whose approval: the last part of its page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format

from flagstaff._text import local_list, localized, say
from flagstaff._text.times import aware
from flagstaff.exceptions import FlagstaffError
from flagstaff.waiting.times import future_time

#: The names of the fields with the time and its zone, and of the button that asks a colleague.
AT, ZONE, REQUEST = "_at", "_zone", "_request"
# A day of the next week has the name of one of this week.
_DAYS_WITHOUT_A_DATE = timedelta(days=6)
_MAX_NAMES = 5


def wants_later(request: HttpRequest) -> bool:
    """Whether a time was posted, or the button that asks a colleague."""
    return bool(request.POST.get(AT, "").strip() or REQUEST in request.POST)


class Later:
    """What was posted about the time and the approval of an action."""

    def __init__(self, request: HttpRequest, *, is_possible: bool) -> None:
        posted, local_zone = request.POST, timezone.get_current_timezone_name()
        self.is_possible = is_possible
        self.text = posted.get(AT, "").strip() if is_possible else ""
        self.is_request = is_possible and REQUEST in posted
        #: Whether the browser may fill in its own time zone.
        self.is_zone_open = ZONE not in posted
        self.zone = posted.get(ZONE, "").strip() or local_zone
        #: The time in its zone, or what is wrong with it.
        self.at: datetime | None = None
        self.problem = ""
        if self.text:
            zone = "" if self.zone == local_zone else f" {self.zone}"
            try:
                self.at = future_time(f"{self.text}{zone}")
            except FlagstaffError as error:
                self.problem = f"{localized(error.message)}."

    @property
    def is_wanted(self) -> bool:
        """Whether it is not to be done now."""
        return bool(self.text or self.is_request)

    def button(self, text: str) -> str:
        """Returns the text of the button, with the time of the action if it has one."""
        if self.at is None:
            return text
        return say("{what} on {time}", what=text, time=day_and_time(self.at)).local

    def request_button(self) -> str:
        """Returns the text of the button that asks a colleague, also with the time."""
        if self.at is None:
            return say("Request approval").local
        return say("Request approval for {time}", time=day_and_time(self.at)).local


def day_and_time(at: datetime) -> str:
    """Returns a time to come as a person says it: "Monday, 9:00 (Vienna)", in its own zone."""
    day, zone = date_format(at, "l"), str(at.tzinfo).rpartition("/")[2].replace("_", " ")
    if aware(at) - aware(timezone.now()) > _DAYS_WITHOUT_A_DATE:
        day = f"{day}, {date_format(at, 'DATE_FORMAT')}"
    return f"{day}, {at.hour}:{at:%M} ({zone})"


def colleagues_text(names: Sequence[str]) -> str:
    """Returns who can approve an action."""
    if not names:
        return say("Another user with the permission for it has to approve it.").local
    who = local_list(names, _MAX_NAMES)
    text = say("{names} can approve it.", "One of these has to approve it: {names}.")
    return say(text, count=len(names), names=who).local
