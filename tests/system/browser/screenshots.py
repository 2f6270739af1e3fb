"""Screenshots of whole pages, in build/screenshots. CI keeps them as output of its run."""

from __future__ import annotations

import base64

from tests.system.browser.conftest import Visitor
from tools.npm_packages import ROOT

__all__ = ["save_screenshot"]

_DIRECTORY = ROOT / "build" / "screenshots"
_SIZE = "return [innerWidth, document.documentElement.scrollHeight]"
_MAX_HEIGHT = 8000


def save_screenshot(visitor: Visitor, name: str) -> None:
    """Saves the open page as <name>.png, also what is below the window."""
    width, height = visitor.driver.execute_script(_SIZE)
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, _MAX_HEIGHT), "scale": 1}
    parameters = {"format": "png", "clip": clip, "captureBeyondViewport": True}
    shot = visitor.driver.execute_cdp_cmd("Page.captureScreenshot", parameters)
    _DIRECTORY.mkdir(parents=True, exist_ok=True)
    (_DIRECTORY / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
