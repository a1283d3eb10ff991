"""Named tables of `python -m medad_jax.reproduce`: which runs they hold.

What is published beside them stands in medad_jax/published.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from configs import deep_geo, deep_if, dpa, maddr, piad, reconstruction, ssl

ABLATED = ("camelyon16", "nih_ap", "nih_pa", "nih_subset")
MADDR_SETS = ("covid_ct", "brain", "rsna")
# Sets of the publications; the tables of these systems take any other set, too.
BENCHMARK = ("rsna", "vin", "brain", "lag", "isic", "c16", "brats")
DDAD_SETS = ("rsna", "vin", "brain", "lag")
LATENT_SETS = ("rsna", "vin", "brain", "brats")
LATENTS = (1, 2, 4, 8, 16, 32, 64, 128)
BACKBONES = ("ae", "memae", "aeu")
RATIOS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
MEMBERS = (2, 3, 4, 5)
ANY_SET = ("medianomaly", "ae4ad")
# Scores of DDAD; "single" is the mean over the nets that saw normal images.
_DDAD = ("single", "rec", "intra", "inter", "r_intra", "r_dual")


class Row(NamedTuple):
  """A run of a table.

  Attributes:
    group: of runs that belong together, such as all classes.
    title: of the run in its group.
    file: of configs/.
    argument: of that file.
    averaged: whether the group's mean is of interest, as over all classes.
    changes: fields of the configuration that are other than the file's.
    scores: its scores, and what they are called in medad_jax/published; the
      score "" is the headline.
    dataset: what its set is called there; "" as in the configuration.
  """

  group: str
  title: str
  file: str
  argument: str
  averaged: bool = False
  changes: tuple[tuple[str, Any], ...] = ()
  scores: tuple[tuple[str, str], ...] = ()
  dataset: str = ""


def names() -> list[str]:
  """The names of all tables; those of `ANY_SET` may name other sets."""
  found = [f"medianomaly/{name}" for name in (*BENCHMARK, "phantom")]
  found += [f"ddad/{name}" for name in (*DDAD_SETS, "phantom")]
  found += [f"ae4ad/{name}" for name in (*LATENT_SETS, "phantom")]
  found += ["ra/fastmri", "ra/phantom"]
  found += [f"dpa/{name}" for name in (*dpa.CLASSES, *dpa.EXPERIMENTS)]
  for method, module in (
    ("piad", piad),
    ("deep_geo", deep_geo),
    ("deep_if", deep_if),
  ):
    sets = {argument.split("/")[0]: 0 for argument in module.arguments()}
    found += [f"{method}/{name}" for name in sets]
  small = (f"{m}/phantom" for m in ("dpa", "piad", "deep_geo", "deep_if"))
  return [*found, "maddr", *small]


class Difference(NamedTuple):
  """Two runs of a table whose AUROC is compared, seed by seed.

  Attributes:
    run: group and title of the first one.
    other: the same of the run that is subtracted.
    part: the set of the first run that is compared with all of the other one;
      empty where their sets are compared one by one.
  """

  run: str
  other: str
  part: str = ""


def differences(name: str) -> list[Difference]:
  """Pairs of runs that a table compares: joint models with the others."""
  found = []
  for host in maddr.METHODS if name == "maddr" else ():
    joint, plain = f"{host} joint", f"{host} plain"
    found.append(Difference(joint, plain))
    found += [
      Difference(run, f"{host}-alone {one}", one)
      for run in (joint, plain)
      for one in MADDR_SETS
    ]
  return found


def known(name: str) -> bool:
  """True if there is such a table."""
  system, slash, dataset = name.partition("/")
  return name in names() or (system in ANY_SET and bool(slash and dataset))


def rows(name: str, ablation: bool = False) -> list[Row]:
  """The runs of a table, the ablations alone or all others.

  Args:
    name: of a table that is `known`.
    ablation: whether those are meant that leave out or add a part.
  """
  system, _, dataset = name.partition("/")
  if system == "maddr":
    return list(_maddr(ablation))
  if system == "ddad":
    return list(_ddad_ablation(dataset) if ablation else _ddad(dataset))
  if system in _PLAIN:
    return [] if ablation else list(_PLAIN[system](dataset))
  return _dpa_family(system, dataset, ablation)


def of_dataset(dataset: str) -> list[Row]:
  """The runs of all tables on a set, such as "brain" or "cifar10:3"."""
  first = dataset.split(",")[0].partition(":")[0]
  found = []
  for system in ANY_SET:
    name = f"{system}/{first}"
    found += [*rows(name), *rows(name, True)]
  for name in names():
    system, _, of = name.partition("/")
    if system not in ANY_SET and of in (first, ""):
      found += [*rows(name), *rows(name, True)]
  return found


def _medianomaly(dataset: str) -> Iterator[Row]:
  """Every method that has a training of its own, with its further scores."""
  methods = reconstruction.METHODS
  for name, (module, headline) in methods.items():
    if headline not in (None, "rec"):
      continue
    scores = [("", name)]
    scores += [
      (score, other)
      for other, (same, score) in methods.items()
      if same == module and score not in (None, headline)
    ]
    yield Row(
      "reconstruction",
      name,
      "reconstruction",
      f"{dataset}/{name}",
      scores=_named(scores, headline),
    )
  for name in ssl.METHODS:
    yield Row("ssl", name, "ssl", f"{dataset}/{name}", scores=(("", name),))


def _named(
  scores: Sequence[tuple[str, Any]], headline: str | None
) -> tuple[tuple[str, str], ...]:
  """The scores with the headline by its own name, where it has one."""
  return tuple((score or headline or "", name) for score, name in scores)


def _ae4ad(dataset: str) -> Iterator[Row]:
  for size in LATENTS:
    yield Row(
      "latent",
      str(size),
      "reconstruction",
      f"{dataset}/ae",
      changes=(("model.latent", size),),
      scores=(("rec", f"ae,latent={size}"),),
    )


def _ra(dataset: str) -> Iterator[Row]:
  yield Row("ra", "", "ra", dataset, scores=(("", "ra"),), dataset=dataset)


_PLAIN = {"medianomaly": _medianomaly, "ae4ad": _ae4ad, "ra": _ra}


def _ddad(dataset: str) -> Iterator[Row]:
  for name in BACKBONES:
    scores = tuple((score, f"ddad-{name}/{score}") for score in _DDAD)
    yield Row("ddad", name, f"{dataset}_ddad", name, scores=scores)


def _ddad_ablation(dataset: str) -> Iterator[Row]:
  """Shares of abnormal images and numbers of members; no refinement."""
  file, until = f"{dataset}_ddad", ("until", "ensemble")
  for ratio in RATIOS:
    changes = (until, ("data.anomaly_ratio", ratio))
    name = f"ddad-ae/inter,anomaly_ratio={ratio:g}"
    # The default's value stands in the table itself.
    scores = (("inter", "ddad-ae/inter" if ratio == 0.6 else name),)
    title = f"{ratio:g}"
    yield Row("anomaly_ratio", title, file, "ae", False, changes, scores)
  for count in MEMBERS:
    changes = (until, ("ensemble.size", count))
    scores = tuple(
      (score, f"ddad-ae/{score},members={count}")
      for score in ("intra", "inter")
    )
    yield Row("members", str(count), file, "ae", False, changes, scores)


def _dpa_family(system: str, dataset: str, ablation: bool) -> list[Row]:
  if dataset == "phantom":
    small = ("phantom/wo_pg", "phantom/pg") if system == "dpa" else ("phantom",)
    return [
      Row(argument.rpartition("/")[2], "", system, argument)
      for argument in small
      if not ablation
    ]
  modules = {"dpa": dpa, "piad": piad, "deep_geo": deep_geo, "deep_if": deep_if}
  found = []
  for argument in modules[system].arguments():
    its_set, _, rest = argument.partition("/")
    if its_set != dataset:
      continue
    group, _, title = rest.partition("/")
    ablated = system == "dpa" and group not in ("wo_pg", "pg")
    if ablated == ablation:
      classes = dataset in dpa.CLASSES
      name = f"{system}/{group}" if classes else f"{system}/{rest}"
      scores = (("", name),)
      found.append(Row(group, title, system, argument, classes, scores=scores))
  return found


def _maddr(ablation: bool) -> Iterator[Row]:
  """Joint models and, to compare, one for each set; or the ablations.

  "plain" has no constraint, and neither have the models of one set: with one
  organ and one modality, its heads have nothing to tell apart.
  """
  joint = ",".join(MADDR_SETS)
  for host in maddr.METHODS:
    if ablation:
      for name in maddr.ABLATIONS[1:]:
        yield Row(host, name, "maddr", f"{joint}/{host}/{name}")
      continue
    yield Row(host, "joint", "maddr", f"{joint}/{host}")
    yield Row(host, "plain", "maddr", f"{joint}/{host}/plain")
    for one in MADDR_SETS:
      yield Row(f"{host}-alone", one, "maddr", f"{one}/{host}/plain", True)
