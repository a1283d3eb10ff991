"""AUROC by step beside what rules without labels choose."""

from collections.abc import Sequence
import csv
import dataclasses
import io
import statistics

from medad_jax.report import figures, table
from medad_jax.scoring import intervals

MEANING = (
  "The rules saw no test label: `last` ends with the last step, `average` with"
  " the mean weights of the second half, `synthetic` with the best AUROC of"
  " anomalies made of held-out normal images, `validation_loss` with the lowest"
  " loss of these. `oracle_best` is the best"
  " step by the test labels themselves: a ceiling that nobody reaches without"
  " them, and what a rule is short of it is its cost. Intervals are by sampling"
  " of test images or patients."
)
_HEADER = ("run", "seed", "rule", "step", "AUROC", "oracle_best", "cost")
# One of each rule; the ceiling's is the last.
_MARKERS = {
  "last": "s",
  "average": "D",
  "synthetic": "o",
  "validation_loss": "^",
}
_OTHER, _ORACLE = "v", "*"


@dataclasses.dataclass(frozen=True)
class Choice:
  """A rule's choice among the checkpoints of one training.

  Attributes:
    rule: its name.
    steps: of every member, which choose for themselves, or all whose weights
      are averaged.
    auroc: of what it ends with.
    ci: its 95 % interval; None with fewer than two images in a class.
  """

  rule: str
  steps: tuple[int, ...]
  auroc: float
  ci: intervals.Interval | None

  @property
  def step(self) -> float:
    """The mean step."""
    return statistics.fmean(self.steps)


@dataclasses.dataclass(frozen=True)
class Training:
  """One training's checkpoints.

  Attributes:
    seed: of the training.
    aurocs: of every step.
    choices: of every rule.
  """

  seed: int
  aurocs: tuple[float, ...]
  choices: tuple[Choice, ...]

  @property
  def oracle_best(self) -> int:
    """The place of the best AUROC by test labels, the first of equal ones."""
    return self.aurocs.index(max(self.aurocs))


@dataclasses.dataclass(frozen=True)
class Curves:
  """All checkpoints of a run.

  Attributes:
    run: what it is called.
    method: its name.
    dataset: its name.
    score: the headline.
    steps: at which checkpoints were kept, rising.
    trainings: one a seed.
  """

  run: str
  method: str
  dataset: str
  score: str
  steps: tuple[int, ...]
  trainings: tuple[Training, ...]


def rows(found: Sequence[Curves]) -> list[tuple[str, ...]]:
  """Cells of the table, a rule and training a row; see `MEANING`."""
  made: list[tuple[str, ...]] = []
  for run in found:
    for training in run.trainings:
      best = training.oracle_best
      ceiling = f"{training.aurocs[best]:.3f} (step {run.steps[best]:,})"
      for choice in training.choices:
        cost = training.aurocs[best] - choice.auroc
        made.append(
          (
            *(run.run, str(training.seed), choice.rule, _steps(choice)),
            table.with_interval(choice.auroc, choice.ci),
            *(ceiling, table.number(cost, 3)),
          )
        )
  return made


def text(found: Sequence[Curves]) -> str:
  """The table for the terminal."""
  return "\n".join([*table.aligned(_HEADER, rows(found), 2), "", MEANING])


def markdown(found: Sequence[Curves]) -> str:
  """The table and the picture in Markdown."""
  lines = [_HEADER, ("---",) * len(_HEADER), *rows(found)]
  marked = [f"| {' | '.join(line)} |" for line in lines]
  of = ", ".join(
    f"{run.run}: {run.method} on {run.dataset}, score {run.score}"
    for run in found
  )
  picture = "![AUROC by step, with the rules' choices](by_step.png)"
  return "\n".join([f"{of}.", "", *marked, "", picture, "", MEANING, ""])


def csv_text(found: Sequence[Curves]) -> str:
  """All numbers: every step's AUROC, then what each rule chose."""
  file = io.StringIO(newline="")
  out = csv.writer(file, lineterminator="\n")
  out.writerow(
    ("run", "seed", "rule", "step", "auroc", "low", "high", "oracle_best")
  )
  for run in found:
    for training in run.trainings:
      best = training.oracle_best
      for place, (step, area) in enumerate(
        zip(run.steps, training.aurocs, strict=True)
      ):
        out.writerow(
          (run.run, training.seed, "", step, area, "", "", int(place == best))
        )
      for choice in training.choices:
        # Members may be at several steps, so that this is no row from above.
        ends = choice.ci or ("", "")
        own = (choice.rule, choice.step, choice.auroc, *ends, "")
        out.writerow((run.run, training.seed, *own))
  return file.getvalue()


def picture(found: Sequence[Curves]) -> bytes:
  """A panel a run: a line a training, the rules' choices and the best step."""
  width = min(len(found), 3)
  height = -(-len(found) // width)
  figure = figures.canvas(4.2 * width, 0.6 + 2.9 * height)
  grid = figure.subplots(height, width, squeeze=False).ravel()
  for axes, run in zip(grid, found, strict=False):
    _panel(axes, run)
  for axes in grid[len(found) :]:
    axes.set_visible(False)
  handles = {
    label: handle
    for axes in grid
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
  }
  figure.legend(
    handles.values(),
    handles.keys(),
    loc="outside lower center",
    ncols=3 * width,  # the longest name takes a third of a panel
  )
  return figures.png(figure)


def _panel(axes: figures.Axes, run: Curves) -> None:
  for place, training in enumerate(run.trainings):
    color, label = f"C{place}", f"seed {training.seed}"
    axes.plot(run.steps, training.aurocs, color=color, linewidth=1, label=label)
    for choice in training.choices:
      marker = _MARKERS.get(choice.rule, _OTHER)
      _mark(axes, [choice.step], [choice.auroc], marker, color)
    best = training.oracle_best
    ceiling = [run.steps[best]], [training.aurocs[best]]
    _mark(axes, *ceiling, _ORACLE, color)
  # For the legend, after the seeds: a mark stands for a rule, not for a color.
  for choice in run.trainings[0].choices:
    marker = _MARKERS.get(choice.rule, _OTHER)
    _mark(axes, [], [], marker, "black", choice.rule)
  _mark(axes, [], [], _ORACLE, "black", "oracle_best")
  axes.set(title=run.run, xlabel="step", ylabel="AUROC on the test images")
  axes.grid(alpha=0.3)


def _mark(axes, steps, areas, marker, color, label=None) -> None:
  # Hollow, as two rules may choose the same step.
  axes.plot(
    steps,
    areas,
    marker,
    markersize=11 if marker == _ORACLE else 7,
    markerfacecolor="none",
    markeredgecolor=color,
    label=label,
  )


def _steps(choice: Choice) -> str:
  first, last = min(choice.steps), max(choice.steps)
  return f"{first:,}" if first == last else f"{first:,} to {last:,}"
