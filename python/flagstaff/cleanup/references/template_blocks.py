"""The blocks of a template that may depend on a flag: `{% if %}` and `{% flag %}`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from flagstaff.cleanup.references.templates import Tag

__all__ = ["Block", "blocks_in", "word_of"]

_OURS = ("if", "flag")
_NEXT = ("elif", "else")


@dataclass
class Block:
    """A tag with contents: its branches, which begin with a tag each, and its end."""

    name: str
    tags: list[Tag]
    end: Tag = field(init=False)
    is_clear: bool = True

    @property
    def nexts(self) -> list[Tag]:
        """The tags that end the branches."""
        return [*self.tags[1:], self.end]


def word_of(tag: Tag) -> str:
    """Returns the first word of a tag."""
    return (tag.contents.split() or [""])[0]


def blocks_in(tags: Iterable[Tag]) -> Iterator[Block]:
    """Yields the blocks whose branches are clear, when they end."""
    tags = [tag for tag in tags if tag.is_block]
    words = {word_of(tag) for tag in tags}
    opened: list[Block] = []
    for tag in tags:
        word = word_of(tag)
        if word.startswith("end"):
            block = _ended(opened, word.removeprefix("end"))
            if block is not None and block.name in _OURS and _is_clear(block):
                block.end = tag
                yield block
        elif word in _NEXT and opened:
            opened[-1].tags.append(tag)
        elif f"end{word}" in words:
            opened.append(Block(word, [tag]))


def _ended(opened: list[Block], name: str) -> Block | None:
    if all(block.name != name for block in opened):
        for block in opened:
            block.is_clear = False
        return None
    is_clear = True
    while (block := opened.pop()).name != name:
        # It has no end: `{% set x = 1 %}`. What it seemed to contain belongs to the one around.
        is_clear = is_clear and len(block.tags) == 1
    block.is_clear = block.is_clear and is_clear
    return block


def _is_clear(block: Block) -> bool:
    words = [word_of(tag) for tag in block.tags]
    return block.is_clear and "else" not in words[1:-1]
