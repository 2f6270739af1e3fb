"""Arguments of evaluations that have a wrong type: the error names the argument and the cure."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pytest

from flagstaff import (
    _core,
    all_flags,
    explain,
    explain_value,
    flag_enabled,
    get_value,
    resolve_flag,
    resolve_value,
)
from flagstaff.experiments import explain_variant, get_variant, peek_variant, resolve_variant
from flagstaff.testing import override_flag

# A snapshot of one evaluation, which reads nothing until then.
SNAPSHOT = _core.current("new_checkout")
FUNCTIONS: list[Callable[..., object]] = [
    explain,
    explain_value,
    explain_variant,
    flag_enabled,
    get_value,
    get_variant,
    peek_variant,
    resolve_flag,
    resolve_value,
    resolve_variant,
    SNAPSHOT.attribute_names,
    SNAPSHOT.depends_on_user,
    SNAPSHOT.explain,
    SNAPSHOT.flag_enabled,
    SNAPSHOT.get_value,
    SNAPSHOT.get_variant,
    SNAPSHOT.kind_of,
    SNAPSHOT.peek_variant,
    SNAPSHOT.resolve_flag,
    SNAPSHOT.resolve_value,
    SNAPSHOT.resolve_variant,
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=attrgetter("__qualname__"))
@pytest.mark.parametrize(("key", "shown"), [(3, "int"), (b"new_checkout", "bytes")])
def test_key_that_is_no_string_is_named_with_an_example(
    function: Callable[..., object], key: object, shown: str
) -> None:
    with pytest.raises(TypeError) as error:
        function(key)
    assert str(error.value) == f'key must be a string, such as "new_checkout", not {shown}'


@pytest.mark.parametrize(
    "function",
    [flag_enabled, resolve_flag, SNAPSHOT.flag_enabled, SNAPSHOT.resolve_flag],
    ids=attrgetter("__qualname__"),
)
def test_default_of_a_flag_that_is_no_bool_is_named(function: Callable[..., object]) -> None:
    with pytest.raises(TypeError) as error:
        function("new_checkout", default="x")
    assert str(error.value) == "default must be True or False, not str"
    evaluated: Any = all_flags
    with pytest.raises(TypeError, match="client_side must be True or False, not None"):
        evaluated(client_side=None)


def test_key_that_is_none_is_named() -> None:
    evaluated: Any = flag_enabled
    with pytest.raises(TypeError, match=r"^key must be a string, such as .*, not None"):
        evaluated(None)


def test_default_that_is_a_bool_of_another_library_is_accepted() -> None:
    numpy = pytest.importorskip("numpy")
    with override_flag("banner", True):
        assert flag_enabled("banner", default=numpy.bool_(True)) is True
