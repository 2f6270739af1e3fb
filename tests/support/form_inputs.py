"""What a browser posts for the inputs of a page, read from its HTML."""

from __future__ import annotations

from html.parser import HTMLParser


def inputs_of(html: str, prefix: str) -> dict[str, str]:
    """Returns names and values, in order, of the inputs whose names begin with the prefix."""
    reader = _Reader()
    reader.feed(html)
    return {name: value for name, value in reader.inputs if name.startswith(prefix)}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[tuple[str, str]] = []
        self._templates = 0
        self._name: str | None = None
        self._text = ""
        self._is_chosen = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        name = found.get("name") or ""
        self._templates += tag == "template"
        if self._templates:
            return
        if tag == "input":
            is_box = found.get("type") in {"checkbox", "radio"}
            if not is_box or "checked" in found:
                self.inputs.append((name, found.get("value") or ("on" if is_box else "")))
        elif tag in ("textarea", "select"):
            self._name, self._text, self._is_chosen = name, "", False
        elif tag == "option" and self._name and not self._is_chosen:
            # A select without a choice starts with an empty option in our pages.
            self._is_chosen = "selected" in found
            self._text = (found.get("value") or "") if self._is_chosen else self._text

    def handle_data(self, data: str) -> None:
        if self._name and self.lasttag == "textarea":
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        self._templates -= tag == "template"
        if tag in ("textarea", "select") and self._name and not self._templates:
            # A browser drops the line break after the tag.
            text = self._text.removeprefix("\n") if tag == "textarea" else self._text
            self.inputs.append((self._name, text))
            self._name = None
