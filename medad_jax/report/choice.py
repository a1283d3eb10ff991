"""Results of a search: a table for the terminal, and a picture."""

from collections.abc import Mapping, Sequence
import dataclasses

import numpy as np

from medad_jax.report import figures, table

# By rule, what it is called.
TITLES: Mapping[str, str] = {
  "anomalies": "AUROC of few anomalies",
  "validation_loss": "validation loss",
  "synthetic": "AUROC of synthetic ones",
}
_NAMED = 12  # configurations that a legend has room for


@dataclasses.dataclass(frozen=True)
class Row:
  """A configuration's worth.

  Attributes:
    length: steps of a final training; None where a training diverged.
    steps: chosen on each fold.
    values: by rule, measured there.
  """

  length: int | None
  steps: tuple[int, ...]
  values: Mapping[str, tuple[float, ...]]


@dataclasses.dataclass(frozen=True)
class Choice:
  """All configurations of a search, and what the rules choose of them.

  Attributes:
    names: of the configurations.
    rows: what each is worth.
    best: by rule, the number of the best one; None where there is none.
    rule: the one that counts.
  """

  names: tuple[str, ...]
  rows: tuple[Row, ...]
  best: Mapping[str, int | None]
  rule: str


def text_table(found: Choice) -> str:
  """The configurations in their order; a star marks the best of a column."""
  header = ("configuration", *TITLES.values(), "steps")
  rows = []
  for number, (name, row) in enumerate(
    zip(found.names, found.rows, strict=True)
  ):
    cells = [
      _cell(row.values[rule], found.best[rule] == number) for rule in TITLES
    ]
    steps = "diverged" if row.length is None else f"{row.length:,}"
    rows.append((name, *cells, steps))
  lines = table.aligned(header, rows, right=len(header) - 1)
  lines += [
    "",
    "Means and deviations over folds; * is the best of a column, and"
    f" '{TITLES[found.rule]}' decides.",
  ]
  return "\n".join(lines)


def picture(
  found: Choice,
  curves: Mapping[str, Sequence[tuple[Sequence[int], np.ndarray]]],
) -> bytes:
  """Each measurement over steps, a line a configuration; the best is bold.

  Args:
    found: what the search found.
    curves: by rule, for each configuration steps and means over folds.
  """
  figure = figures.canvas(4.0 * len(curves), 3.6)
  grid = figure.subplots(1, len(curves), squeeze=False).ravel()
  for axes, (rule, lines) in zip(grid, curves.items(), strict=True):
    for number, (steps, values) in enumerate(lines):
      best = number == found.best[found.rule]
      axes.plot(
        steps,
        values,
        linewidth=2.2 if best else 0.9,
        marker="o" if len(steps) == 1 else None,
        color=f"C{number % 10}",
        label=found.names[number] if rule == found.rule else None,
      )
      if best and (length := found.rows[number].length) is not None:
        axes.axvline(length, color="gray", linewidth=0.9, linestyle=":")
    axes.set(title=TITLES[rule], xlabel="step")
    axes.grid(alpha=0.3)
  if len(found.names) <= _NAMED:
    figure.legend(loc="outside lower center", ncols=3, fontsize=7)
  return figures.png(figure)


def _cell(values: Sequence[float], best: bool) -> str:
  if not values:
    return "- "
  mark = "*" if best else " "
  return f"{np.mean(values):.4f} ± {np.std(values):.4f}{mark}"
