"""A Jinja2 extension: the tag `flag`, and the functions `flag_enabled` and `get_value`.

OPTIONS = {"extensions": ["flagstaff.jinja2.FlagstaffExtension"]}
"""

from __future__ import annotations

from typing import Any, Final

from jinja2 import Environment, TemplateRuntimeError, Undefined, nodes, pass_context
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context

from flagstaff._engine.request_flags import evaluator_of

__all__ = ["FlagstaffExtension"]

# The default: the user of the request. None means no user.
_REQUEST_USER: Final = object()


class FlagstaffExtension(Extension):
    """Adds the tag `flag`: renders its content for users who have the flag.

        {% flag "new_checkout" %}…{% else %}…{% endflag %}

    The user is `request.user`, or else `user`. Another user or a primary key may follow the key:
    `{% flag "new_checkout", customer %}`. An undefined variable means no user.
    """

    tags = {"flag"}

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(flag_enabled=flag_enabled, get_value=get_value)

    def parse(self, parser: Parser) -> nodes.Node:
        """Compiles the tag to an `if`, so it may contain all that an `if` may contain."""
        line = next(parser.stream).lineno
        if parser.stream.current.test("block_end"):
            parser.fail(
                'flag needs a key and accepts a user, as in {% flag "new_checkout" %}',
                line,
            )
        arguments = [nodes.ContextReference(), parser.parse_expression()]
        if parser.stream.skip_if("comma") or not parser.stream.current.test("block_end"):
            arguments.append(parser.parse_expression())
        body = parser.parse_statements(("name:else", "name:endflag"))
        otherwise: list[nodes.Node] = []
        if next(parser.stream).value == "else":
            otherwise = parser.parse_statements(("name:endflag",), drop_needle=True)
        test = self.call_method("_has_flag", arguments, lineno=line)
        return nodes.If(test, body, [], otherwise, lineno=line)

    def _has_flag(self, context: Context, key: object, user: Any = _REQUEST_USER) -> bool:
        return _evaluate(context, _checked_key(key, "flag"), user)


@pass_context
def flag_enabled(
    context: Context, key: str, user: Any = _REQUEST_USER, *, default: bool = False
) -> bool:
    """Returns whether the flag `key` is on for `user`, by default the request's user."""
    return _evaluate(context, _checked_key(key, "flag_enabled"), user, default=default)


@pass_context
def get_value(context: Context, key: str, default: object = None) -> object:
    """Returns the value `key`, or `default` if there is none."""
    return evaluator_of(context.get("request")).get_value(_checked_key(key, "get_value"), default)


def _evaluate(context: Context, key: str, user: Any, *, default: bool = False) -> bool:
    request = context.get("request")
    if user is _REQUEST_USER:
        user = getattr(request, "user", None)
        user = context.get("user") if user is None else user
    # Undefined means no user. `issubclass(type(…))`, because isinstance would load a lazy user.
    user = None if issubclass(type(user), Undefined) else user
    return evaluator_of(request).flag_enabled(key, user, default=default)


def _checked_key(key: object, name: str) -> str:
    if not isinstance(key, str) or not key:
        # Probably a key without quotes: an undefined variable.
        shown = "" if isinstance(key, Undefined) else key
        raise TemplateRuntimeError(
            f"the key of {name} must be a string, not {shown!r}; put it in quotes"
        )
    return key
