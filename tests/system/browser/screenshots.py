"""Pictures of pages, in dark on a desktop and in light on a phone."""

import base64

from tools.browser import Visitor
from tools.npm_packages import ROOT

_DIRECTORY = ROOT / "build" / "screenshots"
_SIZE = "return [innerWidth, document.documentElement.scrollHeight]"
_MAX_HEIGHT = 8000
# Each scheme and each width once: the colours do not depend on the width.
VIEWS = (("dark", 1280), ("light", 400))


def save_screenshot(visitor: Visitor, name: str) -> None:
    """Saves the open page as <name>.png, also what is below the window."""
    width, height = visitor.driver.execute_script(_SIZE)
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, _MAX_HEIGHT), "scale": 1}
    parameters = {"format": "png", "clip": clip, "captureBeyondViewport": True}
    shot = visitor.driver.execute_cdp_cmd("Page.captureScreenshot", parameters)
    _DIRECTORY.mkdir(parents=True, exist_ok=True)
    (_DIRECTORY / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
