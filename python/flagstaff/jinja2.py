"""For Jinja2: the tag flag … else … endflag, and the functions flag_enabled and get_value.

OPTIONS = {"extensions": ["flagstaff.jinja2.FlagstaffExtension"]}
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, TemplateRuntimeError, Undefined, nodes, pass_context
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context

from flagstaff._engine.request_flags import evaluator_of

__all__ = ["FlagstaffExtension"]

# Nobody was named, which is not the same as None: that is nobody.
_THE_REQUESTS: Any = object()


class FlagstaffExtension(Extension):
    """Show what is between the tags to those who have the flag.

        {% flag "new_checkout" %}…{% else %}…{% endflag %}

    Asks for `request.user`, or else for `user`. Another user, or the primary key of one, can
    follow the key: `{% flag "new_checkout", customer %}`; a variable that is not there is nobody.
    """

    tags = {"flag"}

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(flag_enabled=flag_enabled, get_value=get_value)

    def parse(self, parser: Parser) -> nodes.Node:
        """Turn the tag into an `if`, so that what it holds is what an `if` may hold."""
        line = next(parser.stream).lineno
        if parser.stream.current.test("block_end"):
            parser.fail(
                'flag takes the key of a flag and perhaps a user, as in {% flag "new_checkout" %}',
                line,
            )
        arguments = [nodes.ContextReference(), parser.parse_expression()]
        if parser.stream.skip_if("comma") or not parser.stream.current.test("block_end"):
            arguments.append(parser.parse_expression())
        shown = parser.parse_statements(("name:else", "name:endflag"))
        otherwise: list[nodes.Node] = []
        if next(parser.stream).value == "else":
            otherwise = parser.parse_statements(("name:endflag",), drop_needle=True)
        test = self.call_method("_has_flag", arguments, lineno=line)
        return nodes.If(test, shown, [], otherwise, lineno=line)

    def _has_flag(self, context: Context, key: object, user: Any = _THE_REQUESTS) -> bool:
        return _ask(context, _text(key, "flag"), user)


@pass_context
def flag_enabled(
    context: Context, key: str, user: Any = _THE_REQUESTS, *, default: bool = False
) -> bool:
    """Whether the flag `key` is on for `user`, or for the request's user where none is named."""
    return _ask(context, _text(key, "flag_enabled"), user, default=default)


@pass_context
def get_value(context: Context, key: str, default: Any = None) -> Any:
    """The value of the setting `key`."""
    return evaluator_of(context.get("request")).get_value(_text(key, "get_value"), default)


def _ask(context: Context, key: str, user: Any, *, default: bool = False) -> bool:
    request = context.get("request")
    if user is _THE_REQUESTS:
        user = getattr(request, "user", None)
        user = context.get("user") if user is None else user
    # What is not there would be a text, and somebody. Its type is asked, because isinstance reads
    # a lazy user.
    user = None if issubclass(type(user), Undefined) else user
    return evaluator_of(request).flag_enabled(key, user, default=default)


def _text(key: object, name: str) -> str:
    if not isinstance(key, str) or not key:
        # A variable that is not there: were the quotes forgotten?
        shown = "" if isinstance(key, Undefined) else key
        raise TemplateRuntimeError(
            f"the key of {name} must be a text, not {shown!r}; put it in quotes"
        )
    return key
