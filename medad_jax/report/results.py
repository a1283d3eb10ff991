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
from medad_jax.scoring.over_seeds import Spread
from medad_jax.types import UserError

_Kind = TypeVar("_Kind")
_REMEDY = "make it again with python -m medad_jax.evaluate"


@dataclasses.dataclass(frozen=True)
class Score:
  """The metrics of one score on one test set; one field an evaluator.

  Attributes:
    ranking: of the images.
    pixels: of the maps; None where the set has no masks or the score no map.
    accuracy: the best that a threshold can have; None without two classes.
    over_seeds: spread of each metric by its name; empty for one training. With
      several, the metrics themselves are means.
  """

  ranking: metrics.Ranking
  pixels: pixel_metrics.Pixels | None = None
  accuracy: Accuracy | None = None
  over_seeds: Mapping[str, Spread] = dataclasses.field(default_factory=dict)


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
  """

  __test__ = False  # not a test case, whatever pytest thinks of the name

  scores: Mapping[str, Score]
  comparisons: tuple[Comparison, ...] = ()


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
    data: "fingerprint" of the data set and "counts" of its splits.
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
    main = {name: values.pop(name) for name in ("scores", "comparisons")}
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
  return {
    "scores": {name: _score_to_json(s) for name, s in found.scores.items()},
    "comparisons": [_plain(comparison) for comparison in found.comparisons],
  }


def _score_to_json(score: Score) -> dict[str, Any]:
  """All metrics side by side: the evaluators' names do not overlap."""
  tree: dict[str, Any] = {}
  for field in dataclasses.fields(score):
    value = getattr(score, field.name)
    if dataclasses.is_dataclass(value):
      tree |= _plain(value)
  if score.over_seeds:
    spreads = score.over_seeds.items()
    tree["over_seeds"] = {name: _plain(spread) for name, spread in spreads}
  return tree


def _set_from_json(tree: Mapping[str, Any]) -> TestSet:
  return TestSet(
    {name: _score_from_json(s) for name, s in tree["scores"].items()},
    tuple(_typed(Comparison, c) for c in tree["comparisons"]),
  )


def _score_from_json(tree: Mapping[str, Any]) -> Score:
  spreads = tree.get("over_seeds", {}).items()
  return Score(
    ranking=_typed(metrics.Ranking, tree),
    pixels=_typed(pixel_metrics.Pixels, tree) if "n_pixels" in tree else None,
    accuracy=_typed(Accuracy, tree) if "oracle_accuracy" in tree else None,
    over_seeds={name: _typed(Spread, s) for name, s in spreads},
  )


def _plain(value: Any) -> dict[str, Any]:
  """A flat dataclass as JSON values; tuples become lists."""
  return {
    name: list(v) if isinstance(v, tuple) else v
    for name, v in dataclasses.asdict(value).items()
  }


def _typed(kind: type[_Kind], tree: Mapping[str, Any]) -> _Kind:
  """The flat dataclass whose fields are among a tree's."""
  names = [field.name for field in dataclasses.fields(kind)]  # type: ignore
  values = {name: tree[name] for name in names}
  return kind(
    **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
  )
