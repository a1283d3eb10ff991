"""Results of an evaluation: frozen values, to and from results.json.

The main test set's scores lie at `scores.NAME.auroc` of the file; further sets
stand beside it under `sets`.
"""

from collections.abc import Mapping
import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from medad_jax import files
from medad_jax.scoring import intervals, metrics, pixel_metrics
from medad_jax.scoring.accuracy import Accuracy
from medad_jax.scoring.detection import AtThreshold, Detection, Rate
from medad_jax.scoring.fidelity import Fidelity
from medad_jax.scoring.over_seeds import Spread
from medad_jax.types import UserError

_Kind = TypeVar("_Kind")
_OF_A_SET = ("scores", "comparisons", "reconstruction")
_REMEDY = "make it again with python -m medad_jax.evaluate"


@dataclasses.dataclass(frozen=True)
class Score:
  """The metrics of one score on one test set; one field an evaluator.

  Attributes:
    ranking: of the images.
    pixels: of the maps; None where the set has no masks or the score no map.
    over_seeds: spread of each metric by its name; empty for one training. With
      several, the metrics themselves are means, and the intervals beside them
      are by sampling of images or patients with these trainings.
    accuracy: the best that a threshold can have; None without two classes.
    detection: boxes that the maps find; None where there are none.
    over_draws: the same of the ranking's metrics over the random draws of one
      training, whose mean is the score; empty for scores without draws.
  """

  ranking: metrics.Ranking
  pixels: pixel_metrics.Pixels | None = None
  over_seeds: Mapping[str, Spread] = dataclasses.field(default_factory=dict)
  accuracy: Accuracy | None = None
  detection: Detection | None = None
  over_draws: Mapping[str, Spread] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Comparison:
  """The AUROC of score `a` minus that of `b`, on the same images.

  Attributes:
    a: name of the headline score.
    b: name of the other score.
    auroc_difference: in [-1, 1]; None where undefined.
    ci: its 95 % interval.
    p: of the two-sided paired test.
  """

  a: str
  b: str
  auroc_difference: float | None
  ci: intervals.Interval | None
  p: float | None


@dataclasses.dataclass(frozen=True)
class TestSet:
  """The results of one test set.

  Attributes:
    scores: by name, the headline last.
    comparisons: the headline with each other score; none for several seeds.
    fidelity: of the reconstructions; None where the method makes none.
    fidelity_over_seeds: spread of each of its numbers; empty for one training.
  """

  __test__ = False  # not a test case, whatever pytest thinks of the name

  scores: Mapping[str, Score]
  comparisons: tuple[Comparison, ...] = ()
  fidelity: Fidelity | None = None
  fidelity_over_seeds: Mapping[str, Spread] = dataclasses.field(
    default_factory=dict
  )


@dataclasses.dataclass(frozen=True)
class Results:
  """The contents of results.json.

  Attributes:
    dataset: name of the data set.
    method: name of the method.
    config: the run's configuration.
    seed: the first seed.
    seeds: number of seeds.
    members: nets in the largest phase of one seed.
    data: "fingerprint" of the data set, "counts" of its splits, and "audit",
      the findings on each set that was audited.
    trained: descriptions of every start of the training, in order:
      "time", "versions", "commit", "devices", "processes", "meshes" and
      "precision".
    evaluated: the same description of the evaluation.
    weights: where pretrained weights are from, by name.
    seconds: training time of each phase, by its name.
    main: results of the main test set.
    sets: results of further test sets, by name.
    operating: operating points of the headline on the main test set, of one
      training: sensitivities and, with held-out images, the threshold (see
      `engine.alarms.describe`).
  """

  dataset: str
  method: str
  config: Mapping[str, Any]
  seed: int
  seeds: int
  members: int
  data: Mapping[str, Any]
  trained: tuple[Mapping[str, Any], ...]
  evaluated: Mapping[str, Any]
  weights: Mapping[str, str]
  seconds: Mapping[str, float]
  main: TestSet
  sets: Mapping[str, TestSet] = dataclasses.field(default_factory=dict)
  operating: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def to_json(self) -> dict[str, Any]:
    """Plain values, as results.json holds them."""
    shallow = {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
      if field.name not in ("main", "sets")
    }
    shallow["trained"] = list(self.trained)
    sets = {name: _set_to_json(found) for name, found in self.sets.items()}
    return shallow | _set_to_json(self.main) | {"sets": sets}

  @classmethod
  def from_json(cls, tree: Mapping[str, Any]) -> "Results":
    """The results that `to_json` made plain.

    Raises:
      KeyError, TypeError: the tree is not of that shape.
    """
    values = dict(tree)
    values["trained"] = tuple(values["trained"])
    main = {name: values.pop(name) for name in _OF_A_SET if name in values}
    sets = values.pop("sets").items()
    return cls(
      **values,
      main=_set_from_json(main),
      sets={name: _set_from_json(found) for name, found in sets},
    )

  def save(self, path: Path) -> None:
    """Writes results.json.

    Raises:
      UserError: it cannot be written; what was there before stays.
    """
    files.write_json(path, self.to_json())

  @classmethod
  def load(cls, path: Path) -> "Results":
    """Reads results.json.

    Raises:
      UserError: there is none, or it is damaged.
    """
    tree = files.read_json(path, _REMEDY)
    try:
      return cls.from_json(tree)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      reason = f"{type(error).__name__}: {error}"
      raise UserError(
        f"{path} holds no results of this version ({reason}); {_REMEDY}."
      ) from error


def _set_to_json(found: TestSet) -> dict[str, Any]:
  tree: dict[str, Any] = {
    "scores": {name: _score_to_json(s) for name, s in found.scores.items()},
    "comparisons": [_plain(comparison) for comparison in found.comparisons],
  }
  if found.fidelity is not None:
    spreads = _spreads_to_json("over_seeds", found.fidelity_over_seeds)
    tree["reconstruction"] = _plain(found.fidelity) | spreads
  return tree


def _score_to_json(score: Score) -> dict[str, Any]:
  """Metrics side by side, as their names do not overlap; classes below."""
  tree: dict[str, Any] = {}
  for value in (score.ranking, score.pixels, score.accuracy):
    if value is not None:
      tree |= _plain(value)
  if score.detection is not None:
    at = score.detection.at.items()
    tree["detection"] = {name: _at_to_json(found) for name, found in at}
  tree |= _spreads_to_json("over_seeds", score.over_seeds)
  return tree | _spreads_to_json("over_draws", score.over_draws)


def _at_to_json(found: AtThreshold) -> dict[str, Any]:
  rest = found.without_artefacts
  return {
    "threshold": found.threshold,
    "total": _plain(found.total),
    "without_artefacts": None if rest is None else _plain(rest),
    "classes": {name: _plain(rate) for name, rate in found.classes.items()},
  }


def _spreads_to_json(
  name: str, spreads: Mapping[str, Spread]
) -> dict[str, Any]:
  """An entry of that name; none where nothing has spread."""
  if not spreads:
    return {}
  return {name: {of: _plain(spread) for of, spread in spreads.items()}}


def _set_from_json(tree: Mapping[str, Any]) -> TestSet:
  close = tree.get("reconstruction", {})
  return TestSet(
    {name: _score_from_json(s) for name, s in tree["scores"].items()},
    tuple(_typed(Comparison, c) for c in tree["comparisons"]),
    _typed(Fidelity, close) if close else None,
    _spreads_from_json(close, "over_seeds"),
  )


def _score_from_json(tree: Mapping[str, Any]) -> Score:
  at = tree.get("detection", {}).items()
  return Score(
    ranking=_typed(metrics.Ranking, tree),
    pixels=_typed(pixel_metrics.Pixels, tree) if "n_pixels" in tree else None,
    accuracy=_typed(Accuracy, tree) if "oracle_accuracy" in tree else None,
    detection=Detection({name: _at_from_json(found) for name, found in at})
    if at
    else None,
    over_seeds=_spreads_from_json(tree, "over_seeds"),
    over_draws=_spreads_from_json(tree, "over_draws"),
  )


def _at_from_json(tree: Mapping[str, Any]) -> AtThreshold:
  rest, classes = tree["without_artefacts"], tree["classes"].items()
  return AtThreshold(
    tree["threshold"],
    _typed(Rate, tree["total"]),
    None if rest is None else _typed(Rate, rest),
    {name: _typed(Rate, rate) for name, rate in classes},
  )


def _spreads_from_json(tree: Mapping[str, Any], name: str) -> dict[str, Spread]:
  return {k: _typed(Spread, s) for k, s in tree.get(name, {}).items()}


def _plain(value: Any) -> dict[str, Any]:
  """A flat dataclass as JSON values; tuples become lists."""
  return {
    name: list(v) if isinstance(v, tuple) else v
    for name, v in dataclasses.asdict(value).items()
  }


def _typed(kind: type[_Kind], tree: Mapping[str, Any]) -> _Kind:
  """The flat dataclass whose fields are among a tree's."""
  names = [field.name for field in dataclasses.fields(kind)]  # type: ignore
  # Results of an earlier version lack fields that have a default.
  values = {name: tree[name] for name in names if name in tree}
  return kind(
    **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
  )
