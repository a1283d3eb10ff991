"""Named tables of `python -m medad_jax.reproduce`: which runs they hold.

What is published beside them stands in published.json, with its source.
"""

from collections.abc import Iterator
from typing import NamedTuple

from configs import deep_geo, deep_if, dpa, maddr, piad

ABLATED = ("camelyon16", "nih_ap", "nih_pa", "nih_subset")
MADDR_SETS = ("covid_ct", "brain", "rsna")


class Row(NamedTuple):
  """A run of a table.

  Attributes:
    group: of runs that belong together, such as all classes.
    title: of the run in its group.
    file: of configs/.
    argument: of that file.
    averaged: whether the group's mean is of interest, as over all classes.
  """

  group: str
  title: str
  file: str
  argument: str
  averaged: bool = False


def names() -> list[str]:
  """The names of all tables."""
  found = [f"dpa/{name}" for name in (*dpa.CLASSES, *dpa.EXPERIMENTS)]
  for method, module in (
    ("piad", piad),
    ("deep_geo", deep_geo),
    ("deep_if", deep_if),
  ):
    sets = {argument.split("/")[0]: 0 for argument in module.arguments()}
    found += [f"{method}/{name}" for name in sets]
  small = (f"{m}/phantom" for m in ("dpa", "piad", "deep_geo", "deep_if"))
  return [*found, "maddr", *small]


def rows(name: str, ablation: bool = False) -> list[Row]:
  """The runs of a table, the ablations alone or all others.

  Args:
    name: of `names`.
    ablation: whether those are meant that leave out or add a part.
  """
  method, _, dataset = name.partition("/")
  if method == "maddr":
    return list(_maddr(ablation))
  if dataset == "phantom":
    small = ("phantom/wo_pg", "phantom/pg") if method == "dpa" else ("phantom",)
    return [
      Row(argument.rpartition("/")[2], "", method, argument)
      for argument in small
      if not ablation
    ]
  modules = {"dpa": dpa, "piad": piad, "deep_geo": deep_geo, "deep_if": deep_if}
  found = []
  for argument in modules[method].arguments():
    its_set, _, rest = argument.partition("/")
    if its_set != dataset:
      continue
    group, _, title = rest.partition("/")
    ablated = method == "dpa" and group not in ("wo_pg", "pg")
    if ablated == ablation:
      classes = dataset in dpa.CLASSES
      found.append(Row(group, title, method, argument, classes))
  return found


def _maddr(ablation: bool) -> Iterator[Row]:
  """Joint models and, to compare, one for each set; or the ablations."""
  joint = ",".join(MADDR_SETS)
  for host in maddr.METHODS:
    if ablation:
      for name in maddr.ABLATIONS[1:]:
        yield Row(host, name, "maddr", f"{joint}/{host}/{name}")
      continue
    yield Row(host, "joint", "maddr", f"{joint}/{host}")
    for one in MADDR_SETS:
      group = f"{host}, a model for each set"
      yield Row(group, one, "maddr", f"{one}/{host}/plain", True)
