"""The parity certificate: a run's nets beside the same nets in PyTorch.

parity.json   everything, for programs
parity.md     the same for readers
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import math
from pathlib import Path
from typing import Any

from medad_jax import files

TOLERANCE = 1e-5  # of float32 on a CPU
# Two roundings of the same size, one on each side.
_ROUNDINGS = 2.0


@dataclasses.dataclass(frozen=True)
class Row:
  """One comparison.

  Attributes:
    kind: "layer", "map" or "score".
    of: what the row belongs to: a file for layers, a seed for the others.
    name: of the layer by its name in PyTorch, or of the score.
    error: the largest absolute difference.
    largest: the largest absolute value in PyTorch.
    scaled: the error in units of the largest value, where that is above 1.
    rounding: the largest absolute difference of PyTorch's float32 from its
      float64.
    rank_correlation: of a score; None where there is no order.
    auroc_difference: of a score; None where a class is missing.
  """

  kind: str
  of: str
  name: str
  error: float
  largest: float
  scaled: float
  rounding: float
  rank_correlation: float | None = None
  auroc_difference: float | None = None

  def within(self, tolerance: float) -> bool:
    """True if the two agree as far as float32 can.

    Where PyTorch's own float32 is further from its float64 than the tolerance,
    as in differences of nearly equal numbers, twice that is allowed.
    """
    return self.scaled < tolerance or self.error <= _ROUNDINGS * self.rounding


@dataclasses.dataclass(frozen=True)
class Parity:
  """The contents of parity.json.

  Attributes:
    method: name of the method.
    dataset: name of the data set.
    images: how many were scored.
    versions: of jax, torch and this project.
    devices: where both ran.
    rows: all comparisons.
    tolerance: what every `scaled` error stays under, if it holds.
  """

  method: str
  dataset: str
  images: int
  versions: Mapping[str, str]
  devices: Mapping[str, str]
  rows: Sequence[Row]
  tolerance: float = TOLERANCE

  @property
  def holds(self) -> bool:
    """True if every error is under the tolerance."""
    return bool(self.rows) and all(
      row.within(self.tolerance) for row in self.rows
    )

  def sentence(self) -> str:
    """The verdict and the largest error in words."""

    def badness(row):
      return not row.within(self.tolerance), row.scaled

    worst = max(self.rows, key=badness)
    excused = sum(
      row.scaled >= self.tolerance and row.within(self.tolerance)
      for row in self.rows
    )
    verdict = "holds" if self.holds else "DOES NOT HOLD"
    return (
      f"the certificate {verdict}: the largest error, of the {worst.kind}"
      f" {worst.name} of {worst.of}, is {worst.error:.1e} where values reach"
      f" {worst.largest:.3g} (tolerance {self.tolerance:.0e} of the largest"
      f" value or of 1; {excused} of {len(self.rows)} are above it and within"
      " the rounding of PyTorch's own float32)"
    )

  def write(self, folder: Path) -> None:
    """Writes parity.json and parity.md.

    Raises:
      UserError: they cannot be written.
    """
    tree = dataclasses.asdict(self) | {"holds": self.holds}
    files.write_json(folder / "parity.json", _plain(tree))
    files.write(folder / "parity.md", "\n".join(self._page()))

  def _page(self) -> Iterator[str]:
    yield f"# {self.method} on {self.dataset}, beside PyTorch\n"
    yield f"{self.sentence().capitalize()}.\n"
    yield (
      f"Both ran on the same {self.images} test images from the same weights."
      " The nets in PyTorch are this project's own, written from the published"
      " architectures. An error is the largest absolute difference over all"
      " images; it is held against the tolerance in units of the largest value"
      " where that is above 1, since float32 rounds in proportion. Rounding is"
      " what PyTorch's own float32 differs from its float64; an error above"
      " the tolerance passes where it is at most twice that.\n"
    )
    yield from self._scores()
    yield from self._layers()
    yield "## Versions and devices\n"
    facts = [*self.versions.items(), *self.devices.items()]
    yield from _table(("", ""), facts)

  def _scores(self) -> Iterator[str]:
    yield "## Scores and maps\n"
    header = (
      *("", "of", "largest value", "error", "scaled", "rounding"),
      *("rank correlation", "AUROC difference"),
    )
    rows = [row for row in self.rows if row.kind != "layer"]
    yield from _table(
      header,
      [
        (
          f"{row.kind} {row.name}",
          *(row.of, f"{row.largest:.4g}", f"{row.error:.1e}"),
          *(f"{row.scaled:.1e}", f"{row.rounding:.1e}"),
          _number(row.rank_correlation, ".6f"),
          _number(row.auroc_difference, "+.1e"),
        )
        for row in rows
      ],
    )

  def _layers(self) -> Iterator[str]:
    yield "## Layers\n"
    rows = [row for row in self.rows if row.kind == "layer"]
    for of in dict.fromkeys(row.of for row in rows):
      yield f"### {of}\n"
      header = (
        *("layer in PyTorch", "largest value", "error", "scaled"),
        "rounding",
      )
      yield from _table(
        header,
        [
          (
            *(row.name, f"{row.largest:.4g}", f"{row.error:.1e}"),
            *(f"{row.scaled:.1e}", f"{row.rounding:.1e}"),
          )
          for row in rows
          if row.of == of
        ],
      )


def _table(
  header: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[str]:
  yield f"| {' | '.join(header)} |"
  yield f"|{'---|' * len(header)}"
  for row in rows:
    yield f"| {' | '.join(row)} |"
  yield ""


def _number(value: float | None, form: str) -> str:
  return "-" if value is None else format(value, form)


def _plain(tree: Any) -> Any:
  """JSON has no infinity: text in its place."""
  if isinstance(tree, Mapping):
    return {name: _plain(value) for name, value in tree.items()}
  if isinstance(tree, list | tuple):
    return [_plain(value) for value in tree]
  return str(tree) if isinstance(tree, float) and math.isinf(tree) else tree
