"""Published values of the systems that are rebuilt here, with their sources.

The files beside this one hold a value a row. `confidence` is how the value is
known: "published" was read in the authors' own material, "second-hand" is what
somebody else quotes, "re-run" is what somebody else's run of the official code
gave. A system whose file has no row has no published value that was found.
"""

import csv
import dataclasses
import functools
from pathlib import Path

CONFIDENCES = ("published", "second-hand", "re-run")


@dataclasses.dataclass(frozen=True)
class Value:
  """One published number.

  Attributes:
    dataset: as the set is built, with its normal class where it has several;
      a set of classes without one stands for the mean over all of them.
    method: name of the method, and of its score where it has several.
    metric: as `report.results` names it; all are in [0, 1].
    value: the number, a mean where there are several seeds.
    std: its standard deviation over seeds; None where it is unknown.
    seeds: trainings behind it; None where it is unknown.
    source: where the number stands.
    confidence: of `CONFIDENCES`.
  """

  dataset: str
  method: str
  metric: str
  value: float
  std: float | None
  seeds: int | None
  source: str
  confidence: str


@functools.cache
def values() -> tuple[Value, ...]:
  """All published values."""
  found = []
  for path in sorted(Path(__file__).parent.glob("*.csv")):
    with path.open(encoding="utf-8", newline="") as file:
      found += [_value(row) for row in csv.DictReader(file)]
  return tuple(found)


def find(dataset: str, method: str, metric: str) -> list[Value]:
  """The values of one number, the most trustworthy first; perhaps none."""
  wanted = (dataset, method, metric)
  same = [v for v in values() if (v.dataset, v.method, v.metric) == wanted]
  return sorted(same, key=lambda value: CONFIDENCES.index(value.confidence))


def _value(row: dict[str, str]) -> Value:
  return Value(
    row["dataset"],
    row["method"],
    row["metric"],
    float(row["value"]),
    float(row["std"]) if row["std"] else None,
    int(row["seeds"]) if row["seeds"] else None,
    row["source"],
    row["confidence"],
  )
