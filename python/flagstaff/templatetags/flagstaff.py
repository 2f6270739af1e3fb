"""The template tags of `{% load flagstaff %}`: `flag` and `value`."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token
from django.template.context import Context

from flagstaff._engine.request_flags import evaluator_of

register = template.Library()

__all__ = ["flag", "value"]


class FlagNode(template.Node):
    """The node of `{% flag %}`: one content for users who have the flag, one for all others."""

    child_nodelists = ("body", "otherwise")

    def __init__(
        self,
        key: FilterExpression,
        user: FilterExpression | None,
        body: NodeList,
        otherwise: NodeList,
    ) -> None:
        self.key = key
        self.user = user
        self.body = body
        self.otherwise = otherwise

    def render(self, context: Context) -> str:
        # With ignore_failures, a missing variable is None and not a string.
        user = (
            self.user.resolve(context, ignore_failures=True)
            if self.user
            else _request_user(context)
        )
        key = self.key.resolve(context, ignore_failures=True)
        evaluator = evaluator_of(context.get("request"))
        has_flag = evaluator.flag_enabled(_checked_key(key, "flag"), user)
        return (self.body if has_flag else self.otherwise).render(context)


@register.tag
def flag(parser: Parser, token: Token) -> FlagNode:
    """Renders its content for users who have the flag.

        {% flag "new_checkout" %}…{% else %}…{% endflag %}

    The user is `request.user`, which needs the request context processor, or else `user`. Another
    user or a primary key may follow the key: `{% flag "new_checkout" customer %}`. A missing
    variable means no user.
    """
    tag, *arguments = token.split_contents()
    if len(arguments) not in (1, 2):
        raise template.TemplateSyntaxError(
            f'{tag} needs a key and accepts a user, as in {{% {tag} "new_checkout" %}}'
        )
    body = parser.parse(("else", f"end{tag}"))
    otherwise = NodeList()
    if parser.next_token().contents == "else":
        otherwise = parser.parse((f"end{tag}",))
        parser.delete_first_token()
    key, *user = (parser.compile_filter(argument) for argument in arguments)
    return FlagNode(key, user[0] if user else None, body, otherwise)


@register.simple_tag(takes_context=True)
def value(context: Context, key: str, default: object = None) -> object:
    """Renders a value, or stores it in a variable.

    {% value "payment_gateway" as gateway %}
    {% value "page_size" default=20 %}
    """
    return evaluator_of(context.get("request")).get_value(_checked_key(key, "value"), default)


def _request_user(context: Context) -> Any:
    request = context.get("request")
    user = getattr(request, "user", None)
    return context.get("user") if user is None else user


def _checked_key(key: object, tag: str) -> str:
    if not isinstance(key, str) or not key:
        # Probably a key without quotes: a missing variable resolves to "" or None.
        raise template.TemplateSyntaxError(
            f"the key of {{% {tag} %}} must be a string, not {key!r}; put it in quotes"
        )
    return key
