"""The tags of `{% load flagstaff %}`: flag … else … endflag, and value."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token
from django.template.context import Context

from flagstaff._engine.request_flags import evaluator_of

register = template.Library()

__all__ = ["flag", "value"]


class FlagNode(template.Node):
    """What a template shows to those who have a flag, and to everybody else."""

    child_nodelists = ("shown", "otherwise")

    def __init__(
        self,
        key: FilterExpression,
        user: FilterExpression | None,
        shown: NodeList,
        otherwise: NodeList,
    ) -> None:
        self.key = key
        self.user = user
        self.shown = shown
        self.otherwise = otherwise

    def render(self, context: Context) -> str:
        # Without ignore_failures a variable that is not there is a text, and would be somebody.
        user = self.user.resolve(context, ignore_failures=True) if self.user else _user(context)
        key = self.key.resolve(context, ignore_failures=True)
        moment = evaluator_of(context.get("request"))
        has_flag = moment.flag_enabled(_text(key, "flag"), user)
        return (self.shown if has_flag else self.otherwise).render(context)


@register.tag
def flag(parser: Parser, token: Token) -> FlagNode:
    """Show what is between the tags to those who have the flag.

        {% flag "new_checkout" %}…{% else %}…{% endflag %}

    Asks for `request.user`, which needs the request context processor, or else for `user`. Another
    user, or the primary key of one, can follow the key: `{% flag "new_checkout" customer %}`; a
    variable that is not there is nobody.
    """
    tag, *arguments = token.split_contents()
    if len(arguments) not in (1, 2):
        raise template.TemplateSyntaxError(
            f'{tag} takes the key of a flag and perhaps a user, as in {{% {tag} "new_checkout" %}}'
        )
    shown = parser.parse(("else", f"end{tag}"))
    otherwise = NodeList()
    if parser.next_token().contents == "else":
        otherwise = parser.parse((f"end{tag}",))
        parser.delete_first_token()
    key, *user = (parser.compile_filter(argument) for argument in arguments)
    return FlagNode(key, user[0] if user else None, shown, otherwise)


@register.simple_tag(takes_context=True)
def value(context: Context, key: str, default: Any = None) -> Any:
    """Give the value of a setting.

    {% value "payment_gateway" as gateway %}
    {% value "page_size" default=20 %}
    """
    return evaluator_of(context.get("request")).get_value(_text(key, "value"), default)


def _user(context: Context) -> Any:
    request = context.get("request")
    user = getattr(request, "user", None)
    return context.get("user") if user is None else user


def _text(key: object, tag: str) -> str:
    if not isinstance(key, str) or not key:
        # A variable that is not there resolves to "" or None: were the quotes forgotten?
        raise template.TemplateSyntaxError(
            f"the key of {{% {tag} %}} must be a text, not {key!r}; put it in quotes"
        )
    return key
