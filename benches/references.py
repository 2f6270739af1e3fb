"""The search for keys in a large project: seconds for about 1,000,000 lines.

    python -m benches.references        (needs no database)

Makes a tree of Python and templates from a fixed seed in a temporary folder. About 2 % of the files
mention flagstaff. Prints the lines, the references, and the seconds of each search.
"""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter

from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.searching import search_files

LINES = 1_000_000
SEED = 20_261_122
SHARE = 0.02
MODULES_OF_APP = 12

METHOD = '''
    def {name}(self, {first}, {second}=None, *args, **kwargs):
        """Returns the {first} of one {second}."""
        queryset = self.get_queryset().filter({first}={first}, state__in=("open", "{second}"))
        if {second} is not None and not queryset.exists():
            raise ValueError(f"no {first} for {{{second}}}")
        result = {{"{first}": {first}, "total": sum(row.amount for row in queryset)}}
        for key, value in sorted(result.items()):
            logger.info("%s of {name}: %s", key, value)
        return [item for item in queryset if item.flags & 1] or result
'''
HEADER = '''"""The {name} of the {app}."""

from __future__ import annotations

import logging

from django.db import models

logger = logging.getLogger(__name__)


class {title}(models.Model):
    name = models.CharField(max_length=100)
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    state = models.CharField(max_length=10, default="open")
'''
EVALUATION = """
    def has_{name}(self, request):
        if flag_enabled("{key}", request.user):
            return self.{name}("new")
        return self.{name}("old") if request.flags.enabled(keys.{constant}) else None
"""
ROW = (
    '  <tr class="{{% cycle "odd" "even" %}}"><td>{{{{ {name}.amount|floatformat:2 }}}}</td></tr>\n'
)
WORDS = "order invoice customer payment parcel address basket coupon stock refund".split()  # noqa: SIM905


def main() -> None:
    """Makes the tree, searches it, and prints."""
    with tempfile.TemporaryDirectory() as folder:
        lines = make_tree(Path(folder), random.Random(SEED))  # noqa: S311 (not a secret)
        start = perf_counter()
        files = searched_files([folder])
        print(f"{len(files):,} files, {lines:,} lines; listed in {perf_counter() - start:.2f} s")
        for processes in (1, 2):
            start, cpu = perf_counter(), _cpu_seconds()
            found = search_files(files, processes=processes)
            seconds, cpu = perf_counter() - start, _cpu_seconds() - cpu
            print(
                f"processes: {processes}  {seconds:8.2f} s, {cpu:.2f} s of CPU, "
                f"{len(found.references):,} references"
            )
        largest = getrusage(RUSAGE_SELF).ru_maxrss / 1024
        print(f"memory of the larger process  {largest:.0f} MB")


def _cpu_seconds() -> float:
    """Returns the CPU time of this process and of its ended children."""
    return sum(os.times()[:4])


def make_tree(root: Path, chance: random.Random) -> int:
    """Writes apps until there are enough lines, and returns their number."""
    lines, number = 0, 0
    while lines < LINES:
        app = root / f"{chance.choice(WORDS)}_{number}"
        (app / "templates").mkdir(parents=True)
        (app / "__init__.py").touch()
        keys = "".join(f'{word.upper()} = "{app.name}_{word}"\n' for word in WORDS)
        lines += _write(app / "keys.py", keys)
        for part in range(MODULES_OF_APP):
            lines += _write(app / f"module_{part}.py", _module(app.name, part, chance))
            lines += _write(app / "templates" / f"page_{part}.html", _template(app.name, chance))
        number += 1
    return lines


def _module(app: str, part: int, chance: random.Random) -> str:
    mentions = chance.random() < SHARE
    name = f"{chance.choice(WORDS)}_{part}"
    text = HEADER.format(name=name, app=app, title=name.title().replace("_", ""))
    if mentions:
        imports = f"from flagstaff import flag_enabled\nfrom {app} import keys\n"
        text = text.replace("from django.db", f"{imports}from django.db")
    for index in range(chance.randint(10, 40)):
        method, first, second = f"{chance.choice(WORDS)}_{index}", *chance.sample(WORDS, 2)
        text += METHOD.format(name=method, first=first, second=second)
        if mentions and chance.random() < SHARE * 10:
            constant = chance.choice(WORDS)
            key = f"{app}_{constant}"
            text += EVALUATION.format(name=method, key=key, constant=constant.upper())
    return text


def _template(app: str, chance: random.Random) -> str:
    rows = [ROW.format(name=chance.choice(WORDS)) for _ in range(chance.randint(20, 120))]
    if chance.random() < SHARE:
        rows.insert(5, f'{{% load flagstaff %}}{{% flag "{app}_order" %}}new{{% endflag %}}\n')
    return "".join(["{% extends 'base.html' %}\n<table>\n", *rows, "</table>\n"])


def _write(path: Path, text: str) -> int:
    path.write_text(text)
    return text.count("\n")


if __name__ == "__main__":
    main()
