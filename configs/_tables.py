"""Named tables of `python -m medad_jax.reproduce`: which runs they hold.

What is published beside them stands in published.json, with its source.
"""

from collections.abc import Iterator
from typing import NamedTuple

from configs import deep_geo, deep_if, dpa, maddr, piad

ABLATED = ("camelyon16", "nih_ap", "nih_pa", "nih_subset")
MADDR_SETS = ("covid_ct", "brain", "rsna")
_JOINT, _PLAIN = "joint", "joint, no constraint"
_ALONE = "a model for each set"


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


class Difference(NamedTuple):
  """Two runs of a table whose AUROC is compared, seed by seed.

  Attributes:
    run: group and title of the first one.
    other: the same of the run that is subtracted.
    of: the set of the first run that is compared with all of the other one;
      empty where their sets are compared one by one.
  """

  run: tuple[str, str]
  other: tuple[str, str]
  of: str = ""


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
  found += ["maddr", *(f"maddr/{host}" for host in maddr.METHODS)]
  return [*found, "dpa/phantom", "piad/phantom", "deep_geo/phantom"]


def rows(name: str, ablation: bool = False) -> list[Row]:
  """The runs of a table, the ablations alone or all others.

  Args:
    name: of `names`.
    ablation: whether those are meant that leave out or add a part.
  """
  method, _, dataset = name.partition("/")
  if method == "maddr":
    hosts = (dataset,) if dataset else tuple(maddr.METHODS)
    return [row for host in hosts for row in _maddr(host, ablation)]
  if dataset == "phantom":
    small = ("phantom/wo_pg", "phantom/pg") if method == "dpa" else ("phantom",)
    return [
      Row(argument.partition("/")[2], "", method, argument)
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


def differences(name: str) -> list[Difference]:
  """What the main table compares: MADDR's joint models, in pairs of seeds."""
  method, _, dataset = name.partition("/")
  hosts = (dataset,) if dataset else tuple(maddr.METHODS)
  if method != "maddr":
    return []
  found = []
  for host in hosts:
    found.append(Difference((host, _JOINT), (host, _PLAIN)))
    for title in (_JOINT, _PLAIN):
      for one in MADDR_SETS:
        alone = (f"{host}, {_ALONE}", one)
        found.append(Difference((host, title), alone, one))
  return found


def _maddr(host: str, ablation: bool) -> Iterator[Row]:
  """Joint models and, to compare, one for each set; or the ablations.

  Models of one set have no constraint: with one organ and one modality, its
  heads have nothing to tell apart.
  """
  joint = ",".join(MADDR_SETS)
  if ablation:
    for name in maddr.ABLATIONS[1:]:
      yield Row(host, name, "maddr", f"{joint}/{host}/{name}")
    return
  yield Row(host, _JOINT, "maddr", f"{joint}/{host}")
  yield Row(host, _PLAIN, "maddr", f"{joint}/{host}/plain")
  for one in MADDR_SETS:
    yield Row(f"{host}, {_ALONE}", one, "maddr", f"{one}/{host}/plain", True)
