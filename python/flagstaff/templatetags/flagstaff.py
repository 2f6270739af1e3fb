"""The template tags of `{% load flagstaff %}`: `flag`, `value`, `variant` and `preview_bar`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, cast

from django import template
from django.middleware.csrf import get_token
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.template.context import Context
from django.template.library import SimpleNode
from django.template.loader import render_to_string

from flagstaff._request.flags import (
    REQUEST_USER,
    Evaluator,
    RequestFlags,
    request_of_template,
    subject_of_template,
)

register = template.Library()

__all__ = ["flag", "preview_bar", "value", "variant"]


class FlagNode(template.Node):
    """The node of `{% flag %}`: one content for users who have the flag, one for all others."""

    child_nodelists = ("body", "otherwise")

    def __init__(
        self,
        key: FilterExpression,
        user: FilterExpression | None,
        attributes: Mapping[str, FilterExpression],
        body: NodeList,
        otherwise: NodeList,
    ) -> None:
        self.key = key
        self.user = user
        self.attributes = attributes
        self.body = body
        self.otherwise = otherwise

    def render(self, context: Context) -> str:
        # With ignore_failures, a missing variable is None and not a string.
        user = self.user.resolve(context, ignore_failures=True) if self.user else REQUEST_USER
        key = self.key.resolve(context, ignore_failures=True)
        attributes = {
            name: value.resolve(context, ignore_failures=True)
            for name, value in self.attributes.items()
        }
        evaluator, user = _subject(context, user, "flag")
        has_flag = evaluator.flag_enabled(
            _checked_key(key, "flag"), user, context=attributes or None
        )
        return (self.body if has_flag else self.otherwise).render(context)


@register.tag
def flag(parser: Parser, token: Token) -> FlagNode:
    """Renders its content for users who have the flag.

        {% flag "new_checkout" %}…{% else %}…{% endflag %}

    The user is that of the request: `request` of the template, or the one that the middleware
    handles; without a request, `user` of the template. Another user or a primary key may follow the
    key: `{% flag "new_checkout" customer %}`. A missing variable means no user. Names that rules
    may read follow with their values: `{% flag "new_checkout" country=order.country %}`.
    """
    tag, *arguments = token.split_contents()
    key, *remaining = arguments or [""]
    attributes = token_kwargs(remaining, parser)
    user = None
    if remaining and not attributes:
        user = parser.compile_filter(remaining.pop(0))
        attributes = token_kwargs(remaining, parser)
    if reserved := next((name for name in ("user", "context") if name in attributes), None):
        raise template.TemplateSyntaxError(
            f"{tag} has no argument {reserved!r}: write the user after the key, and each name of "
            f'the context with its value, as in {{% {tag} "new_checkout" customer country="DE" %}}'
        )
    if remaining or not key:
        raise template.TemplateSyntaxError(
            f"{tag} needs a key, and accepts a user and names with values, as in "
            f'{{% {tag} "new_checkout" customer country="DE" %}}'
        )
    body = parser.parse(("else", f"end{tag}"))
    otherwise = NodeList()
    if parser.next_token().contents == "else":
        otherwise = parser.parse((f"end{tag}",))
        parser.delete_first_token()
    return FlagNode(parser.compile_filter(key), user, attributes, body, otherwise)


def _simple_tag(function: Callable[..., object]) -> Callable[..., object]:
    """Registers a simple tag that renders None as a variable does: as `string_if_invalid`."""
    name = function.__name__
    register.simple_tag(function, takes_context=True)
    compile_tag = register.tags[name]

    @wraps(function)
    def rendered(context: Context, key: str, *arguments: object, **keywords: object) -> object:
        result = function(context, key, *arguments, **keywords)
        if result is not None:
            return result
        invalid = cast("template.Template", context.template).engine.string_if_invalid
        return invalid % key if "%s" in invalid else invalid

    def compiled(parser: Parser, token: Token) -> template.Node:
        node = cast("SimpleNode", compile_tag(parser, token))
        if node.target_var is None:
            node.func = rendered
        return node

    register.tag(name, compiled)
    return function


@_simple_tag
def value(
    context: Context,
    key: str,
    default: object = None,
    *,
    user: Any = REQUEST_USER,
    **attributes: Any,
) -> object:
    """Renders a value, or stores it in a variable. Without one, renders nothing, or stores None.

    {% value "payment_gateway" as gateway %}
    {% value "page_size" default=20 country=order.country %}

    The user is that of `{% flag %}`, or that of `user=`. Further names are for the rules.
    """
    evaluator, user = _subject(context, user, "value")
    return evaluator.get_value(
        _checked_key(key, "value"), default, user=user, context=attributes or None
    )


@_simple_tag
def variant(
    context: Context,
    key: str,
    user: Any = REQUEST_USER,
    *,
    default: object = None,
    **attributes: Any,
) -> object:
    """Renders the variant of an experiment, as `value` does, or stores it. Records it.

    {% variant "checkout_button" default="control" as button %}

    The user is that of `{% flag %}`; another user or a primary key may follow the key, and then
    names with values that rules may read.
    """
    evaluator, user = _subject(context, user, "variant")
    return evaluator.get_variant(
        _checked_key(key, "variant"), user, default=default, context=attributes or None
    )


@register.simple_tag(takes_context=True)
def preview_bar(context: Context) -> str:
    """Renders a line with what the user previews in this browser, and the button that ends it.

    {% preview_bar %}

    Put it at the top of the pages. Without a preview, renders nothing.
    """
    request = request_of_template(context)
    flags = getattr(request, "flags", None)
    preview = flags.preview if isinstance(flags, RequestFlags) else None
    if preview is None:
        return ""
    shown = {
        "previewed": preview.texts(),
        "url": preview.url,
        "csrf_token": get_token(request),
        "back": request.get_full_path(),
    }
    return render_to_string("flagstaff/preview_bar.html", shown)


def _subject(context: Context, user: Any, tag: str) -> tuple[Evaluator, Any]:
    # A simple tag gets an empty text for a missing variable. isinstance would load a lazy user.
    user = None if issubclass(type(user), str) and not user else user
    return subject_of_template(context, user, tag, getattr(context.template, "name", None))


def _checked_key(key: object, tag: str) -> str:
    if not isinstance(key, str) or key == "":
        # Probably a key without quotes: a missing variable resolves to "" or None.
        raise template.TemplateSyntaxError(
            f"the key of {{% {tag} %}} must be a string, not {key!r}; put it in quotes"
        )
    return key
