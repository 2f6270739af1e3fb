"""The end of a simulation: its figures as text or JSON, and its exit status."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

__all__ = ["print_result"]


def print_result(
    text: str, figures: object, problems: Sequence[str], *, started: float, as_json: bool
) -> int:
    """Prints the figures and the broken bounds, and returns 1 if there is one.

    `started` is the time of `time.monotonic()` at the start.
    """
    if as_json:
        print(json.dumps({"scenarios": figures, "problems": problems}, indent=2))
    else:
        print(text)
        print(f"{time.monotonic() - started:.0f} s; bounds: {'; '.join(problems) or 'all kept'}")
    return 1 if problems else 0
