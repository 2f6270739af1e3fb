"""Programs that use constants in odd ways print the same before and after the patch."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.references import apply, patched, printed

# Each begins with its name. Other files follow their names. `f` is `flag_enabled`.
ODD = """
# list is reversed
KEYS = ["a", "b"]
KEYS.reverse()
print(f(KEYS[0]))

# list is sorted
KEYS = ["a", "A"]
KEYS.sort()
print(f(KEYS[0]))

# item is deleted
KEYS = ["a", "b"]
del KEYS[0]
print(f(KEYS[0]))

# item is popped
KEYS = ["a", "b"]
KEYS.pop(0)
print(f(KEYS[0]))

# slice is assigned
KEYS = ["a", "b"]
KEYS[:] = ["b"]
print(f(KEYS[0]))

# item is assigned by a loop
KEYS = ["a"]
for KEYS[0] in ["b"]: pass
print(f(KEYS[0]))

# item is unpacked to
KEYS = ["a"]
KEYS[0], other = "b", 1
print(f(KEYS[0]))

# item is extended
KEYS = ["a"]
KEYS[0] += "b"
print(f(KEYS[0]))

# alias
KEYS = ["a", "b"]
other = KEYS
other.reverse()
print(f(KEYS[0]))

# two names in one statement
KEYS = other = ["a", "b"]
other.reverse()
print(f(KEYS[0]))

# alias in an expression
KEYS = ["a", "b"]
(other := KEYS).reverse()
print(f(KEYS[0]))

# list that an expression binds and passes
def change(keys): keys.reverse()
change(KEYS := ["a", "b"])
print(f(KEYS[0]))

# alias by a condition
KEYS = ["a", "b"]
other = KEYS or []
other.reverse()
print(f(KEYS[0]))

# callee
def change(keys): keys.reverse()
KEYS = ["a", "b"]
change(KEYS)
print(f(KEYS[0]))

# callee by keyword
def change(keys): keys.reverse()
KEYS = ["a", "b"]
change(keys=KEYS)
print(f(KEYS[0]))

# callee with the name of a reader
def sorted(keys): keys.reverse()
KEYS = ["a", "b"]
sorted(KEYS)
print(f(KEYS[0]))

# callee of a library
from bisect import insort
KEYS = ["a"]
insort(KEYS, "A")
print(f(KEYS[0]))

# default of a parameter
KEYS = ["a", "b"]
def change(keys=KEYS): keys.reverse()
change()
print(f(KEYS[0]))

# returned list
KEYS = ["a", "b"]
def keys(): return KEYS
keys().reverse()
print(f(KEYS[0]))

# yielded list
KEYS = ["a", "b"]
def keys(): yield KEYS
next(keys()).reverse()
print(f(KEYS[0]))

# list of a lambda
KEYS = ["a", "b"]
(lambda: KEYS)().reverse()
print(f(KEYS[0]))

# list in a list
KEYS = ["a", "b"]
BOX = [KEYS]
BOX[0].reverse()
print(f(KEYS[0]))

# item of an item
KEYS = {"x": ["a", "b"]}
KEYS["x"].reverse()
print(f(KEYS["x"][0]))

# tuple of lists
KEYS = (["a", "b"],)
KEYS[0].reverse()
print(f(KEYS[0][0]))

# method that is called later
KEYS = ["a", "b"]
change = KEYS.reverse
change()
print(f(KEYS[0]))

# method of the type
KEYS = ["a", "b"]
list.reverse(KEYS)
print(f(KEYS[0]))

# local list
def change(keys): keys.reverse()
def main():
    keys = ["a", "b"]
    change(keys)
    return f(keys[0])
print(main())

# local list in a closure
def main():
    keys = ["a", "b"]
    def change():
        return keys
    change().reverse()
    return f(keys[0])
print(main())

# loop over a changed list
KEYS = ["a"]
KEYS.__setitem__(0, "b")
print([f(key) for key in KEYS])

# dict is updated
KEYS = {"x": "a"}
KEYS.update(x="b")
print(f(KEYS["x"]))

# dict is merged
KEYS = {"x": "a"}
KEYS |= {"x": "b"}
print(f(KEYS["x"]))

# dict by an alias
KEYS = {"x": "a"}
other = dict.items and KEYS
other["x"] = "b"
print(f(KEYS["x"]))

# mocked dict
from unittest import mock
KEYS = {"x": "a"}
with mock.patch.dict(KEYS, x="b"):
    print(f(KEYS["x"]))

# read-only view of a dict that changes
from types import MappingProxyType
SOURCE = {"x": "a"}
KEYS = MappingProxyType(SOURCE)
SOURCE["x"] = "b"
print(f(KEYS["x"]))

# dict with a replaced key
KEYS = {"x": "a"}
print(f(dict(KEYS, x="b")["x"]))

# dict of pairs
KEYS = (("x", "b"), ("a", "x"))
print(f(dict(KEYS)["x"]))

# default of get
KEYS = {"x": "a"}
print(f(KEYS.get("y", "b")))

# key of a dict that may be the same
name = "x"
KEYS = {"x": "a", name: "b"}
print(f(KEYS["x"]))

# sorted copy
KEYS = ("b", "a")[::-1]
print(f(sorted(("b", "A"))[0]), f(sorted(["a", "A"])[0]))

# reversed copy
KEYS = ("a", "b")
print(f(list(reversed(KEYS))[0]), f(tuple(reversed(KEYS))[0]))

# keys of a dict
KEYS = {"b": "a"}
print(f(list(KEYS)[0]))

# index that may be missing
KEYS = ["a"]
def main(number): return f(KEYS[number])
try: print(main(3))
except IndexError: print("missing")

# key that may be missing
KEYS = {"x": "a"}
def main(name): return f(KEYS[name])
try: print(main("y"))
except KeyError: print("missing")

# text with its quotes
KEY = "a"
print(f(f"{KEY!r}"), f(f"{KEY=}"))

# text of an escaped character
print(f(f"\\x61"), f(f"\\x62"))

# name by globals
KEY = "a"
globals()["KEY"] = "b"
print(f(KEY))

# name by exec
KEY = "a"
exec("KEY = 'b'")
print(f(KEY))

# name that is deleted
KEY = "a"
del KEY
try: print(f(KEY))
except NameError: print("missing")

# attribute of a class
class Keys:
    K = "a"
Keys.K = "b"
print(f(Keys.K))

# attribute by setattr
class Keys:
    K = "a"
setattr(Keys, "K", "b")
print(f(Keys.K))

# attribute with a computed name
class Keys:
    K = "a"
def change(keys, name): setattr(keys, name, "b")
change(Keys, "k".upper())
print(f(Keys.K))

# attribute by a loop over names
class Keys:
    K = "a"
for name, key in [("k".upper(), "b")]: setattr(Keys, name, key)
print(f(Keys.K))

# attribute by an alias
class Keys:
    K = "a"
other = Keys
other.K = "b"
print(f(Keys.K))

# attribute by a passed setattr
class Keys:
    K = "a"
def change(how): how(Keys, "k".upper(), "b")
change(setattr)
print(f(Keys.K))

# attribute of type
class Keys:
    K = "a"
type.__setattr__(Keys, "k".upper(), "b")
print(f(Keys.K))

# deleted attribute of a child
class Base:
    K = "b"
class Keys(Base):
    K = "a"
del Keys.K
print(f(Keys.K))

# attribute of the class by a method
class Keys:
    K = "a"
    @classmethod
    def change(cls): cls.K = "b"
Keys.change()
print(f(Keys.K))

# attribute of the type of self
class Keys:
    K = "a"
    def change(self): type(self).K = "b"
Keys().change()
print(f(Keys.K))

# mocked attribute
from unittest import mock
class Keys:
    K = "a"
with mock.patch.object(Keys, "K", "b"):
    print(f(Keys.K))

# mocked attributes
from unittest import mock
class Keys:
    K = "a"
with mock.patch.multiple(Keys, K="b"):
    print(f(Keys.K))

# attribute of an instance
class Keys:
    K = "a"
keys = Keys()
keys.K = "b"
print(f(keys.K))

# namespace of an instance
class Keys:
    K = "a"
keys = Keys()
vars(keys)["K"] = "b"
print(f(keys.K))

# updated namespace of an instance
class Keys:
    K = "a"
    def __init__(self, **given): self.__dict__.update(given)
print(f(Keys(**{"k".upper(): "b"}).K))

# attributes that a constructor sets
class Keys:
    K = "a"
    def __init__(self, **given):
        for name, key in given.items(): setattr(self, name, key)
    def is_on(self): return f(self.K)
print(Keys(**{"k".upper(): "b"}).is_on())

# attributes that a base class sets
class Base:
    def __init__(self, given): [super(Base, self).__setattr__(*one) for one in given.items()]
class Keys(Base):
    K = "a"
    def is_on(self): return f(self.K)
print(Keys({"k".upper(): "b"}).is_on())

# other class of an instance
class Keys:
    K = "a"
class Others:
    K = "b"
keys = Keys()
keys.__class__ = Others
print(f(keys.K))

# child with another key
class Keys:
    KEYS = ("a",)
    def is_on(self): return f(self.KEYS[0])
class Others(Keys):
    KEYS = ("b",)
print(Others().is_on())

# child with another part of the key
class Keys:
    PART = ""
    def is_on(self): return f(f"{self.PART}a")
class Others(Keys):
    PART = "x"
print(Others().is_on())

# child with another base first
class Keys:
    K = "a"
    def is_on(self): return f(self.K)
class Mixin:
    K = "b"
class Others(Mixin, Keys): ...
print(Others().is_on())

# child that is made at run time
class Keys:
    K = "a"
    def is_on(self): return f(self.K)
print(type("Others", (Keys,), {"K": "b"})().is_on())

# decorator that changes the class
def change(cls):
    cls.K = "b"
    return cls
@change
class Keys:
    K = "a"
print(f(Keys.K))

# decorator that replaces the class
class Others:
    K = "b"
def replace(cls): return Others
@replace
class Keys:
    K = "a"
print(f(Keys.K))

# metaclass
class Meta(type):
    def __getattribute__(cls, name): return "b"
class Keys(metaclass=Meta):
    K = "a"
print(f(Keys.K))

# attribute that is computed
class Keys:
    K = "a"
    def __getattribute__(self, name): return "b"
print(f(Keys().K))

# field of a data class
from dataclasses import dataclass
@dataclass
class Keys:
    K: str = "a"
keys = Keys("b")
print(f(keys.K))

# field of a named tuple
from typing import NamedTuple
class Keys(NamedTuple):
    K: str = "a"
print(f(Keys("b").K))

# list of a class
class Keys:
    KEYS = ["a", "b"]
Keys.KEYS.reverse()
print(f(Keys.KEYS[0]))

# list of a class by an instance
class Keys:
    KEYS = ["a", "b"]
    def change(self): self.KEYS.reverse()
Keys().change()
print(f(Keys.KEYS[0]))

# list of an instance
class Keys:
    def __init__(self): self.keys = ["a", "b"]
    def is_on(self): return f(self.keys[0])
keys = Keys()
keys.keys.reverse()
print(keys.is_on())

# list of a class by names
class Keys:
    KEYS = ["a", "b"]
for name in dir(Keys):
    if name.isupper(): getattr(Keys, name).reverse()
print(f(Keys.KEYS[0]))

# list of a class by names of self
class Keys:
    KEYS = ["a", "b"]
    def change(self): [getattr(self, name).reverse() for name in dir(self) if name.isupper()]
Keys().change()
print(f(Keys.KEYS[0]))

# local list by its name
def main():
    keys = ["a", "b"]
    locals()["keys"].reverse()
    return f(keys[0])
print(main())

# attribute that knows its class
class Other:
    def __set_name__(self, owner, name): setattr(owner, name.upper(), "b")
class Keys:
    K = "a"
    k = Other()
print(f(Keys.K))

# new member of an enumeration
from enum import Enum
class Keys(Enum):
    K = "a"
    def __new__(cls, value):
        one = object.__new__(cls)
        one._value_ = "b"
        return one
print(f(Keys.K.value))

# name of a member
from enum import Enum
class Keys(str, Enum):
    K = "a"
print(f(str(Keys.K)))

# name of a member by a variable
from enum import Enum
class Keys(str, Enum):
    K = "a"
key = Keys.K
print(f(f"{key!s}"), f(str(key)), [f(str(one)) for one in Keys])

# value of a member that is computed
from enum import Enum
class Keys(Enum):
    K = "a"
    @property
    def value(self): return "b"
print(f(Keys.K.value))

# private attribute
class Keys:
    __K = "a"
    def is_on(self): return f(self.__K)
keys = Keys()
keys._Keys__K = "b"
print(keys.is_on())

# function that is replaced
import shop
shop.f = lambda key: "other"
print(shop.is_on())
## shop.py
from flagstaff import flag_enabled as f
def is_on(): return f("a")

# attribute of a module
import shop
shop.KEY = "b"
print(f(shop.KEY))
## shop.py
KEY = "a"

# attribute of a module by an alias
import shop as other
import shop
other.KEY = "b"
print(f(shop.KEY))
## shop.py
KEY = "a"

# function of a module whose name is set
import shop
shop.KEY = "b"
print(shop.is_on())
## shop.py
from flagstaff import flag_enabled as f
KEY = "a"
def is_on(): return f(KEY)

# attributes of a module by computed names
import shop
def change(module, name): setattr(module, name, "b")
change(shop, "key".upper())
print(f(shop.KEY))
## shop.py
KEY = "a"

# attribute of a module by its text
import sys, shop
sys.modules["shop"].KEY = "b"
print(f(shop.KEY))
## shop.py
KEY = "a"

# attributes of a module that is found by its text
import sys, shop
for name in ["key"]: setattr(sys.modules["sh" + "op"], name.upper(), "b")
print(f(shop.KEY))
## shop.py
KEY = "a"

# attributes of a module by an alias and computed names
import shop
import shop as other
def change(module, name): setattr(module, name, "b")
change(other, "key".upper())
print(f(shop.KEY))
## shop.py
KEY = "a"

# class that is found by its text
from django.utils.module_loading import import_string
import shop
def change(keys, name): setattr(keys, name, "b")
change(import_string("shop.Keys"), "k".upper())
print(f(shop.Keys.K))
## shop.py
class Keys:
    K = "a"

# mocked module
from unittest import mock
import shop
with mock.patch("shop.KEY", "b"):
    print(shop.is_on())
## shop.py
from flagstaff import flag_enabled as f
KEY = "a"
def is_on(): return f(KEY)

# list of another module
import shop
shop.KEYS.reverse()
print(f(shop.KEYS[0]))
## shop.py
KEYS = ["a", "b"]

# list of another module by an alias
from shop import KEYS, KEYS as other
other.reverse()
print(f(KEYS[0]))
## shop.py
KEYS = ["a", "b"]

# re-exported list
from api import KEYS
import change
print(f(KEYS[0]))
## api.py
from shop import *
## change.py
import api
api.KEYS.reverse()
## shop.py
KEYS = ["a", "b"]

# re-exported list by another name
from shop import KEYS
import change
print(f(KEYS[0]))
## api.py
from shop import KEYS as names
## change.py
from api import names
names.reverse()
## shop.py
KEYS = ["a", "b"]

# re-exported class
from api import Keys
import change
print(f(Keys.K))
## api.py
from shop import Keys as Keys
## change.py
from shop import Keys as names
names.K = "b"
## shop.py
class Keys:
    K = "a"

# star import that binds the name again
from shop import KEY
print(f(KEY))
## local.py
KEY = "b"
## shop.py
KEY = "a"
from local import *

# child in another module
import change, shop
print(change.Others().is_on())
## change.py
import middle
class Others(middle.Middle):
    K = "b"
## middle.py
from shop import Keys
class Middle(Keys): ...
## shop.py
from flagstaff import flag_enabled as f
class Keys:
    K = "a"
    def is_on(self): return f(self.K)

# local name of a removed branch
x = "module"
def main():
    if f("a"): x = "local"
    return x
try: print(main())
except UnboundLocalError: print("unbound")

# local import of a removed branch
import os
def main():
    if not f("a"): import os
    return os.sep
try: print(main())
except UnboundLocalError: print("unbound")

# closure over a name of a removed branch
x = "module"
def main():
    if f("a"):
        for x in ["local"]: pass
    return (lambda: x)()
try: print(main())
except NameError: print("unbound")

# text that becomes a docstring
def main():
    if f("a"):
        "not a docstring"
        return 1
    "nor this"
class Main:
    if not f("a"):
        "not a docstring"
print(main.__doc__, Main.__doc__)

# argument with a property
class User:
    @property
    def id(self): print("read")
user = User()
print(f("a", user.id))

# argument that is missing
users = {}
try: print(f("a", users["x"]), f("a", missing))
except (KeyError, NameError): print("missing")
"""

# What the patch resolves: all uses only read.
PLAIN = """
# list that is only read
KEYS = ["a", "b"]
print(len(KEYS), "a" in KEYS, [*KEYS], [key for key in KEYS], KEYS.index("a"))
print(f(KEYS[0]))

# dict that is only read
KEYS = {"x": "a", "y": "b"}
print(sorted(KEYS), KEYS.get("y"), list(KEYS.items()), {**KEYS})
key = KEYS.get("x")
print(f(KEYS["x"]), f(key))

# local list that is only read
def main():
    keys = ["a"]
    for key in keys:
        print(f(key))
main()

# tuple that is passed
KEYS = ("a", "b")
def first(keys): return keys[0]
print(first(KEYS), f(KEYS[0]))

# frozen set that is passed
KEYS = frozenset({"a"})
print(list(KEYS), [f(key) for key in KEYS])

# class that is only read
class Keys:
    K = "a"
    OTHER = "b"
def show(keys: type[Keys]): print(Keys.OTHER)
show(Keys)
print(f(Keys.K))

# final name of a class with a child
from typing import Final
class Keys:
    K: Final = "a"
    def is_on(self): return f(self.K)
class Others(Keys):
    OTHER = "b"
print(Others().is_on())

# enumeration that is passed
from enum import Enum
class Keys(str, Enum):
    K = "a"
    OTHER = "b"
def show(keys): print(list(keys))
show(Keys)
print(f(Keys.K), f(Keys["K"].value), [f(key) for key in (Keys.K,)])

# list of another module that is only read
from shop import KEYS, Keys
print(f(KEYS[0]), f(Keys.K))
## shop.py
KEYS = ["a", "b"]
class Keys:
    K = "a"

# other attribute that is set
class Keys:
    K = "a"
Keys.OTHER = "b"
def change(one, name): one.other = name
change(Keys, "x")
print(f(Keys.K))

# name that each branch assigns
def main():
    if f("a"): x = 1
    else: x = 2
    return x
print(main())
"""


def _programs(text: str) -> list[object]:
    parts = (part.partition("\n") for part in text.strip().split("\n\n"))
    return [pytest.param(code, id=name.removeprefix("# ")) for name, _, code in parts]


def _files(code: str) -> dict[str, str]:
    main, *others = code.split("\n## ")
    files = (part.partition("\n") for part in others)
    imported = f"from flagstaff import flag_enabled as f\n{main}\n"
    return {"main.py": imported, **{name: f"{text}\n" for name, _, text in files}}


@pytest.fixture(autouse=True)
def no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps Python from running the compiled code of the other version of a file."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.mark.parametrize("code", _programs(ODD))
@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_program_with_odd_uses_prints_the_same_after_the_patch(
    tmp_path: Path, code: str, on: bool
) -> None:
    found = patched(tmp_path, _files(code), a=on)
    before = printed(tmp_path, on=on)
    apply(found)
    assert found.problems == {}
    assert printed(tmp_path, on=on) == before


@pytest.mark.parametrize("code", _programs(PLAIN))
@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_program_that_only_reads_is_resolved(tmp_path: Path, code: str, on: bool) -> None:
    found = patched(tmp_path, _files(code), a=on)
    before = printed(tmp_path, on=on)
    apply(found)
    assert found.remaining == ()
    assert printed(tmp_path, on=on) == before
