"""A Jinja2 extension: the tag `flag`, and the functions `flag_enabled` and `get_value`.

OPTIONS = {"extensions": ["flagstaff.contrib.jinja2.FlagstaffExtension"]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, TemplateRuntimeError, Undefined, nodes, pass_context
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context

from flagstaff._request.flags import REQUEST_USER, Evaluator, subject_of_template

__all__ = ["FlagstaffExtension"]


class FlagstaffExtension(Extension):
    """Adds the tag `flag`: renders its content for users who have the flag.

        {% flag "new_checkout" %}…{% else %}…{% endflag %}

    The user is that of the request: `request` of the template, or the one that the middleware
    handles; without a request, `user` of the template. Another user or a primary key may follow the
    key: `{% flag "new_checkout", customer %}`. An undefined variable means no user. Names that
    rules may read follow with their values: `{% flag "new_checkout", country=order.country %}`.
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
        pairs: list[nodes.Pair] = []
        while parser.stream.skip_if("comma") or not parser.stream.current.test("block_end"):
            if parser.stream.look().test("assign"):
                pairs.append(_parse_pair(parser))
            elif user or pairs:
                parser.fail("flag accepts a key, a user, and then names with values", line)
            else:
                user.append(parser.parse_expression())
        arguments = [nodes.ContextReference(), key, nodes.Dict(pairs), *user]
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
        attributes: Mapping[str, object],
        user: Any = REQUEST_USER,
    ) -> bool:
        evaluator, user, defined = _subject(context, user, attributes, "flag")
        return evaluator.flag_enabled(_checked_key(key, "flag"), user, context=defined)


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
    user: Any = REQUEST_USER,
    *,
    default: bool = False,
    context: Mapping[str, object] | None = None,
) -> bool:
    """Returns whether the flag `key` is on for `user`, by default the request's user.

    Rules may read `context`.
    """
    evaluator, user, attributes = _subject(template_context, user, context, "flag_enabled")
    key = _checked_key(key, "flag_enabled")
    return evaluator.flag_enabled(key, user, default=default, context=attributes)


@pass_context
def get_value(
    template_context: Context,
    key: str,
    default: object = None,
    *,
    user: Any = REQUEST_USER,
    context: Mapping[str, object] | None = None,
) -> object:
    """Returns the value `key` for `user`, by default the request's user.

    Returns `default` if there is none. Rules may read `context`.
    """
    evaluator, user, attributes = _subject(template_context, user, context, "get_value")
    key = _checked_key(key, "get_value")
    return evaluator.get_value(key, default, user=user, context=attributes)


@pass_context
def get_variant(
    template_context: Context,
    key: str,
    user: Any = REQUEST_USER,
    *,
    default: object = None,
    context: Mapping[str, object] | None = None,
) -> object:
    """Returns the variant of the experiment `key` for `user`, by default the request's user.

    Records it. Rules may read `context`.
    """
    evaluator, user, attributes = _subject(template_context, user, context, "get_variant")
    key = _checked_key(key, "get_variant")
    return evaluator.get_variant(key, user, default=default, context=attributes)


def _subject(
    context: Context, user: Any, attributes: Mapping[str, object] | None, name: str
) -> tuple[Evaluator, Any, Mapping[str, object] | None]:
    """Returns the evaluator, the user and the context of a call. What is undefined is missing."""
    evaluator, user = subject_of_template(context, user, name, context.name)
    if isinstance(attributes, Mapping):
        attributes = {name: _defined(value) for name, value in attributes.items()}
    return evaluator, _defined(user), attributes


def _defined(value: object) -> object:
    # `issubclass(type(…))`, because isinstance would load a lazy user.
    return None if issubclass(type(value), Undefined) else value


def _checked_key(key: object, name: str) -> str:
    if not isinstance(key, str) or key == "":
        # Probably a key without quotes: an undefined variable.
        shown = "" if isinstance(key, Undefined) else key
        raise TemplateRuntimeError(
            f"the key of {name} must be a string, not {shown!r}; put it in quotes"
        )
    return key
