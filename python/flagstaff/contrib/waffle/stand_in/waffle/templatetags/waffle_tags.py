from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import template
from django.template import Context, NodeList, TemplateSyntaxError
from django.template.base import FilterExpression, Node, Parser, Token, VariableDoesNotExist

from flagstaff._request.flags import request_of_template
from waffle import flag_is_active, sample_is_active, switch_is_active
from waffle.views import _generate_waffle_js

register = template.Library()
_IsActive = Callable[[Any, str], Any]


class WaffleNode(Node):
    child_nodelists = ("nodelist_true", "nodelist_false")

    def __init__(
        self,
        nodelist_true: NodeList,
        nodelist_false: NodeList,
        condition: _IsActive,
        name: str,
        compiled_name: FilterExpression,
    ) -> None:
        self.nodelist_true, self.nodelist_false = nodelist_true, nodelist_false
        self.condition, self.name, self.compiled_name = condition, name, compiled_name

    def render(self, context: Context) -> Any:
        """Renders one of the two parts. A name that is no variable stands for itself."""
        try:
            name = self.compiled_name.resolve(context)
        except VariableDoesNotExist:
            name = self.name
        is_active = self.condition(request_of_template(context), name or self.name)
        return (self.nodelist_true if is_active else self.nodelist_false).render(context)

    @classmethod
    def handle_token(
        cls, parser: Parser, token: Token, kind: str, condition: _IsActive
    ) -> WaffleNode:
        """Returns the node of a tag, up to its end."""
        tag, *names = token.split_contents()
        if not names:
            raise TemplateSyntaxError(f"{tag!r} tag requires an argument")
        compiled_name = parser.compile_filter(names[0])
        nodelist_true = parser.parse(("else", f"end{kind}"))
        nodelist_false = NodeList()
        if parser.next_token().contents == "else":
            nodelist_false = parser.parse((f"end{kind}",))
            parser.delete_first_token()
        return cls(nodelist_true, nodelist_false, condition, names[0], compiled_name)


@register.tag
def flag(parser: Parser, token: Token) -> Node:
    """Renders by a flag: `{% flag "name" %}…{% else %}…{% endflag %}`."""
    return WaffleNode.handle_token(parser, token, "flag", flag_is_active)


@register.tag
def switch(parser: Parser, token: Token) -> Node:
    return WaffleNode.handle_token(parser, token, "switch", lambda _, name: switch_is_active(name))


@register.tag
def sample(parser: Parser, token: Token) -> Node:
    return WaffleNode.handle_token(parser, token, "sample", lambda _, name: sample_is_active(name))


class InlineWaffleJSNode(Node):
    def render(self, context: Context) -> Any:
        return _generate_waffle_js(request_of_template(context))


@register.tag
def wafflejs(_parser: Parser, _token: Token) -> Node:
    return InlineWaffleJSNode()
