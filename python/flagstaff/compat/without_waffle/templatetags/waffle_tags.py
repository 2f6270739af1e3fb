"""The template tags of waffle, by results of flagstaff."""

from __future__ import annotations

from collections.abc import Callable

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token
from django.template.context import Context
from django.utils.safestring import SafeString, mark_safe

from flagstaff.compat.without_waffle import flag_is_active, sample_is_active, switch_is_active
from flagstaff.compat.without_waffle.views import script

__all__ = ["register"]

register = template.Library()

_IsActive = Callable[[Context, str], bool]


class WaffleNode(template.Node):
    """One content where a flag, switch or sample is on, and another one where it is off."""

    child_nodelists = ("body", "otherwise")

    def __init__(
        self,
        is_active: _IsActive,
        name: FilterExpression,
        body: NodeList,
        otherwise: NodeList,
    ) -> None:
        self.is_active = is_active
        self.name = name
        self.body = body
        self.otherwise = otherwise

    def render(self, context: Context) -> SafeString:
        # A name without quotes is a variable, and the name itself if there is none.
        name = self.name.resolve(context, ignore_failures=True) or self.name.token
        return (self.body if self.is_active(context, name) else self.otherwise).render(context)


def _register(tag: str, is_active: _IsActive) -> None:
    def compile_tag(parser: Parser, token: Token) -> WaffleNode:
        bits = token.split_contents()
        if len(bits) == 1:
            raise template.TemplateSyntaxError(f"{bits[0]!r} tag requires an argument")
        name = parser.compile_filter(bits[1])
        body = parser.parse(("else", f"end{tag}"))
        otherwise = NodeList()
        if parser.next_token().contents == "else":
            otherwise = parser.parse((f"end{tag}",))
            parser.delete_first_token()
        return WaffleNode(is_active, name, body, otherwise)

    register.tag(tag, compile_tag)


_register("flag", lambda context, name: flag_is_active(context.get("request"), name))
_register("switch", lambda _context, name: switch_is_active(name))
_register("sample", lambda _context, name: sample_is_active(name))


@register.simple_tag(takes_context=True)
def wafflejs(context: Context) -> SafeString:
    """Renders the script of the view `wafflejs`, for a script element."""
    return mark_safe(script(context["request"]))  # noqa: S308 (it escapes what it has)
