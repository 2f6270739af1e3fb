"""The cost of an evaluation by waffle's functions: waffle alone, with the shadow, and served.

    python -m benches.waffle      (beside a DATABASE_URL; `make bench` runs all)

Waffle's cache is in the memory of the process, as with Django's default settings.
"""

from __future__ import annotations

from collections.abc import Callable

from benches._project import set_up
from benches.evaluation import ROUNDS, round_of

CALLS = 2_000
# What FLAGSTAFF["WAFFLE"] has in each row of the result.
SETTINGS: dict[str, dict[str, object]] = {
    "waffle": {"SHADOW": 0},
    "with the shadow": {},
    "served": {"SERVE": True},
}


def main() -> None:
    """Measures and prints."""
    set_up()
    from django.test.utils import override_settings  # noqa: PLC0415 (after set-up)

    functions = _functions()
    best: dict[tuple[str, str], float] = {}
    for _ in range(ROUNDS):
        for label, options in SETTINGS.items():
            with override_settings(FLAGSTAFF={"WAFFLE": options}):
                for name, function in functions.items():
                    place = name, label
                    best[place] = min(best.get(place, float("inf")), round_of(function, CALLS))
    for (name, label), nanoseconds in sorted(best.items()):
        base = best[name, "waffle"]
        print(f"{name:12}{label:20}{nanoseconds / 1000:8.2f} µs{nanoseconds / base:8.2f}")


def _functions() -> dict[str, Callable[[], object]]:
    import waffle  # noqa: PLC0415 (after set-up)
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.test import RequestFactory  # noqa: PLC0415
    from waffle.models import Flag, Switch  # noqa: PLC0415

    from flagstaff import refresh  # noqa: PLC0415

    # The mirror writes both here.
    Flag.objects.create(name="percent", percent=50, staff=True)
    Switch.objects.create(name="switch", active=True)
    refresh()
    request = RequestFactory().get("/")
    request.user = User.objects.create(username="waffle")

    def flag() -> object:
        # A new request each time draws; this one has the cookie, as most have.
        return waffle.flag_is_active(request, "percent")

    request.COOKIES["dwf_percent"] = "True"
    return {"flag": flag, "switch": lambda: waffle.switch_is_active("switch")}


if __name__ == "__main__":
    main()
