"""What a person sees on a page: texts, tables, links, buttons and fields, from a real parser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode

# Elements that begin on a line of their own, or look as if they did.
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "br",
        "button",
        "caption",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "header",
        "input",
        "label",
        "legend",
        "li",
        "main",
        "nav",
        "ol",
        "option",
        "p",
        "pre",
        "section",
        "select",
        "small",
        "summary",
        "table",
        "tbody",
        "td",
        "textarea",
        "th",
        "thead",
        "tr",
        "ul",
    ]
)
_UNSEEN = frozenset({"script", "style", "template", "title"})
_BOXES = frozenset({"checkbox", "radio"})


class Screen:
    """A page, or a part of it."""

    def __init__(self, page: Any) -> None:
        """Takes the HTML of a page, a response with it, or an element of another screen."""
        if isinstance(page, LexborNode):
            self._node = page
            return
        html = page if isinstance(page, str) else page.content.decode()
        root = LexborHTMLParser(html).root
        assert root is not None, html
        self._node = root

    @property
    def text(self) -> str:
        """All texts, with single blanks between them."""
        return " ".join("".join(_texts(self._node)).split())

    @property
    def html(self) -> str:
        """The HTML of the part."""
        return self._node.html or ""

    @property
    def title(self) -> str:
        """The title of the browser's tab."""
        node = self.part("head > title")._node
        return " ".join(node.text().split())

    @property
    def heading(self) -> str:
        """The heading of the page."""
        return self.part("#content h1").text

    def all(self, selector: str) -> list[Screen]:
        """Returns the parts that a CSS selector finds."""
        return [Screen(node) for node in self._node.css(selector) if node != self._node]

    def part(self, selector: str, having: str = "") -> Screen:
        """Returns the only part that a CSS selector finds, of those with this text."""
        parts = [part for part in self.all(selector) if having in part.text]
        assert len(parts) == 1, f"{len(parts)} of {selector!r} with {having!r}: {self.text}"
        return parts[0]

    def section(self, title: str) -> Screen:
        """Returns the section whose heading begins so."""
        sections = [part for part in self.all("section") if part._is_titled(title)]
        assert len(sections) == 1, f"{len(sections)} sections {title!r}: {self.text}"
        return sections[0]

    def _is_titled(self, title: str) -> bool:
        return any(heading.text.startswith(title) for heading in self.all("h2"))

    def texts(self, selector: str) -> list[str]:
        """Returns the text of each part that a CSS selector finds, from top to bottom."""
        return [part.text for part in self.all(selector)]

    def attributes(self, selector: str, name: str) -> list[str]:
        """Returns this attribute of each part that has it, from top to bottom."""
        return [part[name] for part in self.all(f"{selector}[{name}]")]

    def __getitem__(self, attribute: str) -> str:
        return self._node.attributes[attribute] or ""

    def has(self, attribute: str) -> bool:
        """Whether the element has this attribute, also without a value."""
        return attribute in self._node.attributes

    @property
    def names(self) -> list[str]:
        """The names of the attributes of the element."""
        return [*self._node.attributes]

    @property
    def rows(self) -> list[list[str]]:
        """The texts of the cells of each row below the heads of its tables."""
        return [row.texts("th, td") for row in self.all("tbody tr")]

    @property
    def links(self) -> list[tuple[str, str]]:
        """The text and the address of each link."""
        return [(link.text, link["href"]) for link in self.all("a[href]")]

    def link(self, text: str) -> str:
        """Returns the address of the only link with this text; a text that begins so is enough."""
        urls = {url for label, url in self.links if label.startswith(text)}
        assert len(urls) == 1, f"{len(urls)} links {text!r}: {self.links}"
        return urls.pop()

    @property
    def buttons(self) -> list[str]:
        """The texts of the buttons, and of the links that look like buttons."""
        return self.texts("button, a.button")

    @property
    def focused(self) -> Screen:
        """The element that has the focus when the page opens."""
        return self.part("[autofocus]")

    def fields(self, prefix: str = "") -> dict[str, str]:
        """Returns what a browser would post for the inputs, without a button, by their names."""
        return {name: values[-1] for name, values in self.posted(prefix).items()}

    def posted(self, prefix: str = "") -> dict[str, list[str]]:
        """Returns the same with all values of a name."""
        values: dict[str, list[str]] = {}
        for node in self._node.css("input[name], select[name], textarea[name]"):
            name, value = node.attributes["name"] or "", _value_of(node)
            if value is not None and name.startswith(prefix):
                values.setdefault(name, []).append(value)
        return values


def _texts(node: LexborNode) -> Iterator[str]:
    child = node.child
    while child is not None:
        if child.tag == "-text":
            yield child.text_content or ""
        elif child.tag not in _UNSEEN:
            is_block = child.tag in _BLOCKS
            yield from (" ", *_texts(child), " ") if is_block else _texts(child)
        child = child.next


def _value_of(node: LexborNode) -> str | None:
    """Returns what a browser would post for an input; None for nothing."""
    attributes = node.attributes
    if node.tag == "textarea":
        return node.text()
    if node.tag == "select":
        chosen = node.css_first("option[selected]") or node.css_first("option")
        return (chosen.attributes.get("value") or "") if chosen else None
    is_box = attributes.get("type") in _BOXES
    if is_box and "checked" not in attributes:
        return None
    return attributes.get("value") or ("on" if is_box else "")
