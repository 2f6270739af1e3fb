"""Makes the pictures of the documentation: pages of the example's admin, in docs/images.

`python -m tools.pictures` makes all of them, `python -m tools.pictures kill` only that one, and
`console` a sheet with every page, light and dark, on a desktop and on a phone.
"""

from __future__ import annotations

import base64
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import psycopg
from selenium import webdriver

from tools import console_pages
from tools.browser import Visitor, chromium
from tools.demo import ROOT, flags, new_shop, stop_on_signals, wait_for_answer, workers
from tools.ports import LOOPBACK, free_port

__all__ = ["DIRECTORY", "PICTURES", "SHEET", "Picture"]

DIRECTORY = ROOT / "docs" / "images"
#: The name of the sheet.
SHEET = "console"
_FLAGS = "/admin/flagstaff/featureflag/"
_VALUES = "/admin/flagstaff/keyvaluestore/"
_WIDE, _DESKTOP, _PHONE = 1400, 1100, 400
# The views of the sheet, how small they are there, and the height that is shown.
_VIEWS = [(scheme, width) for width in (1280, _PHONE) for scheme in ("light", "dark")]
_SCALE, _MAX_HEIGHT = 0.2, 1200
# Pixels around the elements that are shown.
_MARGIN = 6
# The smallest rectangle that has all elements which match the selectors, in the whole page.
_BOX = """
const boxes = arguments[0].flatMap(selector => [...document.querySelectorAll(selector)])
    .map(element => element.getBoundingClientRect()).filter(box => box.width && box.height);
return [Math.min(...boxes.map(box => box.left + scrollX)),
    Math.min(...boxes.map(box => box.top + scrollY)),
    Math.max(...boxes.map(box => box.right + scrollX)),
    Math.max(...boxes.map(box => box.bottom + scrollY))];
"""
# Ends the transitions of colours, and returns the height of the page.
_SETTLED = """
document.getAnimations().forEach(element => element.finish());
return document.documentElement.scrollHeight;
"""
_SHEET_WIDTH = 2170
_HTML = ROOT / "build" / "console.html"
_SHEET_HEAD = """<!doctype html><meta charset="utf-8"><style>
body { display: flex; flex-wrap: wrap; gap: 16px; margin: 16px; font: 11px sans-serif }
figure { display: flex; flex-wrap: wrap; align-items: start; align-content: start; gap: 4px;
    margin: 0; width: 700px } figcaption { flex-basis: 100% } img { border: 1px solid #aaa }
</style>"""


class Picture(NamedTuple):
    """A picture of a page, or of a part of it."""

    path: str
    #: Selectors of the elements that the picture shows; by default, the page.
    parts: tuple[str, ...] = ("#container",)
    #: What is done on the page before.
    before: Callable[[Visitor, dict[str, str]], object] | None = None
    width: int = _DESKTOP
    scheme: str = "light"


def _mistype(visitor: Visitor, _environment: dict[str, str]) -> None:
    visitor.write("#id_value", '{\n  "standard": [2, 4],\n  "express": [1 2]\n}')
    visitor.press(".flagstaff-confirm")


def _shorten(visitor: Visitor, _environment: dict[str, str]) -> None:
    """Leaves the newest changes, without the buttons below all of them."""
    rest = ".flagstaff-event:nth-child(n + 8), .flagstaff-selected, form + .flagstaff-links"
    script = "document.querySelectorAll(arguments[0]).forEach(element => element.remove())"
    visitor.driver.execute_script(script, rest)


def _ask_workers(visitor: Visitor, _environment: dict[str, str]) -> None:
    """Lets every worker evaluate a flag: only then it is listed."""
    page = visitor.driver.current_url

    def are_listed() -> bool:
        visitor.visit("/crowd/")
        visitor.wait_for_text("body", "4 workers")
        visitor.driver.get(page)
        return "workers: 4." in " ".join(visitor.texts(".flagstaff-summary"))

    visitor.wait_until(are_listed, expected=True)


def _watch(visitor: Visitor, environment: dict[str, str]) -> None:
    """Raises the rollout while the page is open."""
    visitor.log_in_as("alice")
    visitor.visit("/crowd/")
    visitor.wait_for_text("body", "live")
    flags("rollout new_checkout 25", environment)
    visitor.wait_for_text("body", "59 users changed")


PICTURES = {
    "flag-list": Picture(
        _FLAGS, (".flagstaff-title", ".object-tools", "#result_list"), width=_WIDE
    ),
    "flag-list-phone": Picture(_FLAGS, ("#container",), width=_PHONE, scheme="dark"),
    "rollout": Picture(
        f"{_FLAGS}{{new_checkout}}/change/",
        (".flagstaff-title", ".flagstaff-head-line", ".flagstaff-act"),
    ),
    "confirm": Picture(f"{_FLAGS}{{new_checkout}}/rollout/?percent=25", ("#content > *",)),
    "kill": Picture(f"{_FLAGS}{{new_checkout}}/kill/", ("#content > *",)),
    "who-has-it": Picture(
        f"{_FLAGS}{{new_checkout}}/change/?user=carol", (".flagstaff-section:has(#who-has-it)",)
    ),
    "allowed-users": Picture(f"{_FLAGS}{{new_checkout}}/allowed-users/", ("#content > *",)),
    "stale-flags": Picture("/admin/flagstaff/featureflag/stale/", ("#content > *",)),
    "recent-changes": Picture(
        "/admin/flagstaff/featureflag/changes/",
        (".flagstaff-title", ".flagstaff-filters", ".flagstaff-event"),
        _shorten,
        width=_WIDE,
    ),
    "value": Picture(f"{_VALUES}{{delivery_times}}/set/", ("#content > *",), _mistype),
    "unknown-keys": Picture("/admin/flagstaff/featureflag/unknown-keys/", ("#content > *",)),
    "workers": Picture("/admin/flagstaff/featureflag/workers/", ("#content > *",), _ask_workers),
    # The last one: it changes the rollout.
    "crowd": Picture("/", before=_watch, parts=("body",), width=_WIDE),
}

# Evaluations, and changes by people, so that no page is empty.
_FILL = (
    *console_pages.USAGE_AND_AGE,
    """
    INSERT INTO flagstaff_usage (hour, key, result, count, last_at)
    SELECT date_trunc('hour', now()), key, 'unknown', 977 * n, now() - n * interval '7 minutes'
    FROM unnest(ARRAY['new_chekout', 'old_banner']) WITH ORDINALITY AS keys (key, n)
    """,
)
_TIMES = '{"standard": [2, 4], "express": [1, 1]}'
_COMMANDS = (
    "rollout new_checkout 1 --as admin --reason 'first customers'",
    "rollout new_checkout 5 --as admin",
    f"value create delivery_times '{_TIMES}' --type object --as admin",
    f"value set delivery_times '{_TIMES.replace('4', '5')}' --as release --reason 'strike at sea'",
    "create old_banner --as release",
    "delete old_banner --yes --as release --reason 'the summer is over'",
    "create fast_search --description 'The new index of the search.' --as release",
)


def main() -> int:
    """Makes the pictures."""
    chosen = sys.argv[1:] or [*PICTURES, SHEET]
    if unknown := set(chosen) - {*PICTURES, SHEET}:
        sys.exit(f"no such picture: {', '.join(sorted(unknown))}")
    browser, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not chromedriver:
        sys.exit("install chromium and chromedriver")
    stop_on_signals()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="flagstaff-pictures-")))
        driver = stack.enter_context(chromium(browser, chromedriver, folder / "browser"))
        if pictures := [name for name in chosen if name != SHEET]:
            with _demo(driver) as (visitor, url, environment):
                for line in _COMMANDS:
                    flags(line, environment)
                pks = _fill(url)
                for name in pictures:
                    _take(visitor, name, PICTURES[name], pks, environment)
        if SHEET in chosen:
            with _demo(driver) as (visitor, url, environment):
                _make_sheet(visitor, url, environment)
    return 0


@contextmanager
def _demo(driver: webdriver.Chrome) -> Iterator[tuple[Visitor, str, dict[str, str]]]:
    """Yields a visitor of a new demo, the URL of its database, and the environment."""
    port = free_port()
    with new_shop(port) as (url, environment), workers(environment) as process:
        wait_for_answer(port, process)
        visitor = Visitor(driver, f"http://{LOOPBACK}:{port}")
        visitor.log_in_to_admin("admin")
        yield visitor, url, environment


def _fill(url: str) -> dict[str, int]:
    """Writes what the pages show, and returns the primary keys of the flags and values."""
    with psycopg.connect(url, autocommit=True) as session:
        for statement in _FILL:
            session.execute(statement)
        rows = session.execute(
            "SELECT key, id FROM flagstaff_featureflag UNION "
            "SELECT key, id FROM flagstaff_keyvaluestore"
        )
        return dict(rows.fetchall())


def _take(
    visitor: Visitor, name: str, picture: Picture, pks: dict[str, int], environment: dict[str, str]
) -> None:
    visitor.set_scheme(picture.scheme)
    visitor.set_width(picture.width)
    visitor.visit(picture.path.format(**pks))
    if picture.before is not None:
        picture.before(visitor, environment)
    # Before, the elements have no boxes.
    visitor.wait_until_painted()
    left, top, right, bottom = visitor.driver.execute_script(_BOX, list(picture.parts))
    left, top = max(left - _MARGIN, 0), max(top - _MARGIN, 0)
    width = min(right + _MARGIN, picture.width) - left
    clip = {"x": left, "y": top, "width": width, "height": bottom + _MARGIN - top, "scale": 1}
    (DIRECTORY / f"{name}.png").write_bytes(base64.b64decode(_shot(visitor, clip, "png")))
    print(f"  {name}.png", flush=True)


def _make_sheet(visitor: Visitor, url: str, environment: dict[str, str]) -> None:
    """Opens every page in each view, and writes the sheet of small pictures."""
    with psycopg.connect(url, autocommit=True) as session:
        rows = console_pages.fill(lambda text: _rows(session, text), environment)
    parts = []
    for name, page in console_pages.PAGES.items():
        visitor.set_width(_DESKTOP)
        console_pages.open_page(visitor, page, rows)
        images = "".join(_small(visitor, scheme, width) for scheme, width in _VIEWS)
        parts.append(f"<figure><figcaption>{name}</figcaption>{images}</figure>")
    _HTML.parent.mkdir(exist_ok=True)
    _HTML.write_text(_SHEET_HEAD + "".join(parts))
    visitor.driver.get(_HTML.as_uri())
    visitor.set_width(_SHEET_WIDTH)
    height = visitor.driver.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": _SHEET_WIDTH, "height": height, "scale": 1}
    (DIRECTORY / f"{SHEET}.webp").write_bytes(base64.b64decode(_shot(visitor, clip, "webp")))
    print(f"  {SHEET}.webp", flush=True)


def _rows(session: psycopg.Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    cursor = session.execute(statement.encode())
    return cursor.fetchall() if cursor.description else []


def _small(visitor: Visitor, scheme: str, width: int) -> str:
    """Returns the open page in one view, as an image of HTML."""
    visitor.set_scheme(scheme)
    visitor.set_width(width)
    height = visitor.driver.execute_script(_SETTLED)
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, _MAX_HEIGHT), "scale": _SCALE}
    return f'<img alt="" src="data:image/webp;base64,{_shot(visitor, clip, "webp")}">'


def _shot(visitor: Visitor, clip: dict[str, float], kind: str) -> str:
    """Returns a picture of a part of the open page, in base64."""
    parameters = {"format": kind, "clip": clip, "captureBeyondViewport": True}
    if kind != "png":
        parameters["quality"] = 45
    shot = visitor.driver.execute_cdp_cmd("Page.captureScreenshot", parameters)
    return str(shot["data"])


if __name__ == "__main__":
    sys.exit(main())
