"""A Jinja2 extension: the tag `flag`, and the functions `flag_enabled` and `get_value`.

OPTIONS = {"extensions": ["flagstaff.jinja2.FlagstaffExtension"]}
"""

from __future__ import annotations

from collections.abc import Mapping
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
    `{% flag "new_checkout", customer %}`. An undefined variable means no user. Names that rules may
    read follow with their values: `{% flag "new_checkout", country=order.country %}`.
    """

    tags = {"flag"}

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(
            flag_enabled=flag_enabled, get_value=get_value, get_variant=get_variant
        )

    def parse(self, parser: Parser) -> nodes.Node:
        """Compiles the tag to an `if`, so it may contain all that an `if` may contain."""
        line = next(parser.stream).lineno
        if parser.stream.current.test("block_end"):
            parser.fail(
                'flag needs a key and accepts a user, as in {% flag "new_checkout" %}',
                line,
            )
        key = parser.parse_expression()
        user: list[nodes.Expr] = []
        given: list[nodes.Pair] = []
        while parser.stream.skip_if("comma") or not parser.stream.current.test("block_end"):
            if parser.stream.look().test("assign"):
                given.append(_parse_pair(parser))
            elif user or given:
                parser.fail("flag accepts a key, a user, and then names with values", line)
            else:
                user.append(parser.parse_expression())
        arguments = [nodes.ContextReference(), key, nodes.Dict(given), *user]
        body = parser.parse_statements(("name:else", "name:endflag"))
        otherwise: list[nodes.Node] = []
        if next(parser.stream).value == "else":
            otherwise = parser.parse_statements(("name:endflag",), drop_needle=True)
        test = self.call_method("_has_flag", arguments, lineno=line)
        return nodes.If(test, body, [], otherwise, lineno=line)

    def _has_flag(
        self,
        context: Context,
        key: object,
        given: Mapping[str, object],
        user: Any = _REQUEST_USER,
    ) -> bool:
        return _evaluate(context, _checked_key(key, "flag"), user, given=given)


def _parse_pair(parser: Parser) -> nodes.Pair:
    """Returns a name with its value."""
    name = next(parser.stream)
    if name.value in ("user", "context"):
        parser.fail(
            f"flag has no argument {name.value!r}: write the user after the key, and each name of "
            'the context with its value, as in {% flag "new_checkout", customer, country="DE" %}',
            name.lineno,
        )
    parser.stream.expect("assign")
    return nodes.Pair(nodes.Const(name.value), parser.parse_expression(), lineno=name.lineno)


@pass_context
def flag_enabled(
    template_context: Context,
    key: str,
    user: Any = _REQUEST_USER,
    *,
    default: bool = False,
    context: Mapping[str, object] | None = None,
) -> bool:
    """Returns whether the flag `key` is on for `user`, by default the request's user.

    Rules may read `context`.
    """
    key = _checked_key(key, "flag_enabled")
    return _evaluate(template_context, key, user, default=default, given=context)


@pass_context
def get_value(
    template_context: Context,
    key: str,
    default: object = None,
    *,
    user: Any = _REQUEST_USER,
    context: Mapping[str, object] | None = None,
) -> object:
    """Returns the value `key` for `user`, by default the request's user.

    Returns `default` if there is none. Rules may read `context`.
    """
    request = template_context.get("request")
    user, given = _subject(template_context, user, context)
    key = _checked_key(key, "get_value")
    return evaluator_of(request).get_value(key, default, user=user, context=given)


@pass_context
def get_variant(
    template_context: Context,
    key: str,
    user: Any = _REQUEST_USER,
    *,
    default: object = None,
    context: Mapping[str, object] | None = None,
) -> object:
    """Returns the variant of the experiment `key` for `user`, by default the request's user.

    Records it. Rules may read `context`.
    """
    request = template_context.get("request")
    user, given = _subject(template_context, user, context)
    key = _checked_key(key, "get_variant")
    return evaluator_of(request).get_variant(key, user, default=default, context=given)


def _evaluate(
    context: Context,
    key: str,
    user: Any,
    *,
    default: bool = False,
    given: Mapping[str, object] | None = None,
) -> bool:
    user, given = _subject(context, user, given)
    evaluator = evaluator_of(context.get("request"))
    return evaluator.flag_enabled(key, user, default=default, context=given)


def _subject(
    context: Context, user: Any, given: Mapping[str, object] | None
) -> tuple[Any, Mapping[str, object] | None]:
    """Returns the user, and the context of the call. What is undefined is missing."""
    if user is _REQUEST_USER:
        user = getattr(context.get("request"), "user", None)
        user = context.get("user") if user is None else user
    if isinstance(given, Mapping):
        given = {name: _defined(value) for name, value in given.items()}
    return _defined(user), given


def _defined(value: object) -> object:
    # `issubclass(type(…))`, because isinstance would load a lazy user.
    return None if issubclass(type(value), Undefined) else value


def _checked_key(key: object, name: str) -> str:
    if not isinstance(key, str) or not key:
        # Probably a key without quotes: an undefined variable.
        shown = "" if isinstance(key, Undefined) else key
        raise TemplateRuntimeError(
            f"the key of {name} must be a string, not {shown!r}; put it in quotes"
        )
    return key
