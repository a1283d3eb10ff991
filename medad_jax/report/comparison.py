"""Lines of ours beside published ones: text, Markdown, CSV and a picture."""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import functools
import io
import statistics

from medad_jax.published import CONFIDENCES, Value
from medad_jax.report import figures, table
from medad_jax.scoring import intervals, verdicts

NOTHING = "nothing published"
FAILED = "failed"
OTHER_IMAGES = "cannot tell: other images"
# What the verdicts mean; printed below every table.
MEANING = (
  "Verdicts: 'consistent' says that the 95 % interval of the difference over"
  " trainings (Welch's t) holds 0, so that none was found, and 'differs' that"
  " it does not. The interval beside a mean is the sampling of the test images"
  " with these trainings. Verdicts are not adjusted for the number of lines."
)
_LONG = 40  # characters; a longer protocol stands below the table
_HEADER = (
  "method",
  "metric",
  "ours",
  "95 % interval",
  "published",
  "difference",
  "verdict",
)


@dataclasses.dataclass(frozen=True)
class Line:
  """One metric of one run beside what is published.

  Attributes:
    run: what the run is called.
    dataset: name of its data set.
    method: name of the method, as in `published`.
    metric: as in `published`.
    values: of each training; none where the run has failed.
    interval: 95 % interval of their mean, by sampling of the test images.
    published: values of the same number, the most trustworthy first.
    images: why the test images are not those of the publication; or nothing.
    protocol: how the run departs from the published protocol; or nothing.
    failure: why there is no result; or nothing.
    more: further columns by name, such as parameters.
  """

  run: str
  dataset: str
  method: str
  metric: str
  values: tuple[float, ...] = ()
  interval: intervals.Interval | None = None
  published: tuple[Value, ...] = ()
  images: str = ""
  protocol: str = ""
  failure: str = ""
  more: Mapping[str, str] = dataclasses.field(default_factory=dict)

  @property
  def mean(self) -> float | None:
    """The mean over trainings; None where there is none."""
    return statistics.fmean(self.values) if self.values else None

  @property
  def std(self) -> float | None:
    """The deviation over trainings (n - 1); None with one."""
    return statistics.stdev(self.values) if len(self.values) > 1 else None

  @functools.cached_property
  def agreement(self) -> verdicts.Agreement | None:
    """Agreement with the published value; None without either."""
    if not self.values or not self.published:
      return None
    best = self.published[0]
    return verdicts.agreement(self.values, best.value, best.std, best.seeds)

  @property
  def verdict(self) -> str:
    """The verdict in words."""
    if self.failure:
      return FAILED
    if not self.agreement:
      return NOTHING
    if self.images:
      return f"{OTHER_IMAGES} ({self.images})"
    return self.agreement.verdict


@dataclasses.dataclass(frozen=True)
class Pair:
  """The AUROC of one run minus that of another one, on the same images.

  Attributes:
    one: the run and its score.
    other: the run that is subtracted.
    difference: in [-1, 1].
    interval: its 95 % interval by sampling of images, or of patients where
      they are known; None without variance.
    p: of the two-sided paired test.
    by: "image" or "patient", which are sampled.
  """

  one: str
  other: str
  difference: float
  interval: intervals.Interval | None
  p: float | None
  by: str = "image"


def sentences(pairs: Sequence[Pair]) -> list[str]:
  """Differences between runs in words."""
  return [
    f"AUROC of {pair.one} minus that of {pair.other}:"
    f" {pair.difference:+.3f} {_interval(pair.interval, '+')}, p"
    f" {table.p_value(pair.p)}; paired by {pair.by}, with these trainings."
    for pair in pairs
  ]


def text(lines: Sequence[Line]) -> str:
  """The table for the terminal, a block a data set."""
  blocks, notes = [], _notes(lines)
  for dataset, own in _by_dataset(lines).items():
    header, rows = _cells(own, notes)
    blocks.append("\n".join([dataset, *table.aligned(header, rows, 0)]))
  below = [f"({n}) {protocol}" for n, protocol in enumerate(notes, 1)]
  return "\n\n".join([*blocks, *below, MEANING])


def markdown(lines: Sequence[Line]) -> str:
  """Tables in Markdown, one a data set, with the sources below."""
  parts, notes = [], _notes(lines)
  for dataset, own in _by_dataset(lines).items():
    header, rows = _cells(own, notes)
    marked = [header, ["---"] * len(header), *rows]
    parts += [f"## {dataset}", ""]
    parts += [f"| {' | '.join(map(_escaped, row))} |" for row in marked]
    parts.append("")
  for n, protocol in enumerate(notes, 1):
    parts += [f"({n}) `{protocol}`", ""]
  sources = dict.fromkeys(
    f"{value.source} ({value.confidence})"
    for line in lines
    for value in line.published
  )
  parts.append(MEANING)
  if sources:
    parts += ["", "Published values:", ""]
    parts += [f"- {source}" for source in sources]
  if failures := [line for line in lines if line.failure]:
    parts += ["", "Failed:", ""]
    parts += [f"- {line.run}: {line.failure}" for line in failures]
  return "\n".join(parts) + "\n"


def csv_text(lines: Sequence[Line]) -> str:
  """All numbers, a line a row; a published value is the first one."""
  more = list(dict.fromkeys(name for line in lines for name in line.more))
  file = io.StringIO(newline="")
  out = csv.writer(file, lineterminator="\n")
  out.writerow(
    ("run dataset method metric mean std seeds low high published").split()
    + ("published_std confidence source difference").split()
    + ("difference_low difference_high verdict protocol failure").split()
    + more
  )
  for line in lines:
    best = line.published[0] if line.published else None
    found = line.agreement
    ends = found.interval if found and found.interval else (None, None)
    out.writerow(
      (
        *(line.run, line.dataset, line.method, line.metric),
        *(line.mean, line.std, len(line.values)),
        *(line.interval or (None, None)),
        *((best.value, best.std) if best else (None, None)),
        *((best.confidence, best.source) if best else (None, None)),
        *(found.difference if found else None, *ends),
        *(line.verdict, line.protocol, line.failure),
        *(line.more.get(name) for name in more),
      )
    )
  return file.getvalue()


def picture(lines: Sequence[Line]) -> bytes:
  """Means with their intervals, trainings as points, published as diamonds."""
  shown = [line for line in lines if line.values]
  figure = figures.canvas(7.5, 1.2 + 0.26 * max(len(shown), 2))
  axes = figure.add_subplot()
  for at, line in enumerate(shown):
    if line.interval:
      axes.plot(line.interval, (at, at), color=figures.NORMAL, linewidth=1.5)
    axes.plot(line.values, [at] * len(line.values), ".", color=figures.NORMAL)
    axes.plot([line.mean], [at], "|", color=figures.NORMAL, markersize=11)
    for value in line.published[:1]:
      axes.errorbar(
        *([value.value], [at], None, [value.std or 0.0]),
        **{"fmt": "D", "color": figures.ABNORMAL, "markersize": 4},
      )
  names = [
    f"{line.dataset}, {line.run}: {line.method}, {line.metric}"
    for line in shown
  ]
  axes.set_yticks(range(len(shown)), names, fontsize=7)
  axes.set(ylim=(len(shown) - 0.4, -0.6), xlabel="ours (blue), published (red)")
  axes.grid(alpha=0.3)
  return figures.png(figure)


def _by_dataset(lines: Sequence[Line]) -> dict[str, list[Line]]:
  found: dict[str, list[Line]] = {}
  for line in lines:
    found.setdefault(line.dataset, []).append(line)
  return found


def _notes(lines: Sequence[Line]) -> dict[str, str]:
  """The cell of each protocol that is too long for one, in their order."""
  # The first change stays in the cell: a quick run says so on every line.
  long = dict.fromkeys(x.protocol for x in lines if len(x.protocol) > _LONG)
  return {
    protocol: f"{protocol.split(', ')[0]}, and more ({n})"
    for n, protocol in enumerate(long, 1)
  }


def _cells(
  lines: Sequence[Line], notes: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
  """The header and the cells of one data set's lines."""
  more = list(dict.fromkeys(name for line in lines for name in line.more))
  named = len({(line.run, line.method) for line in lines}) > len(
    {line.method for line in lines}
  )
  # A column that would be empty is left out.
  departs = any(line.protocol for line in lines)
  header = [*(["run"] if named else []), *_HEADER]
  header += [*(["protocol"] if departs else []), *more]
  rows = [
    [
      *([line.run] if named else []),
      *(line.method, line.metric, _ours(line), _interval(line.interval)),
      *(_published(line), _difference(line), line.verdict),
      *([notes.get(line.protocol, line.protocol)] if departs else []),
      *(line.more.get(name, "") for name in more),
    ]
    for line in lines
  ]
  return header, rows


def _ours(line: Line) -> str:
  if line.mean is None:
    return FAILED if line.failure else "-"
  if line.std is None:
    return table.number(line.mean, 3)
  return f"{line.mean:.3f} ± {line.std:.3f} ({len(line.values)} seeds)"


def _interval(ends: intervals.Interval | None, sign: str = "") -> str:
  if ends is None:
    return "-"
  return "[{}, {}]".format(*(table.number(end, 3, sign) for end in ends))


def _published(line: Line) -> str:
  """Every known value, marked where it is not the authors' own."""
  cells = []
  for value in line.published:
    spread = "" if value.std is None else f" ± {value.std:.3f}"
    known = value.confidence
    mark = "" if known == CONFIDENCES[0] else f" ({known})"
    cells.append(f"{value.value:.3f}{spread}{mark}")
  return "; ".join(cells) or "-"


def _difference(line: Line) -> str:
  if line.agreement is None:
    return "-"
  difference, ends, _ = line.agreement
  shown = table.number(difference, 3, "+")
  return f"{shown} {_interval(ends, '+')}" if ends else shown


def _escaped(cell: str) -> str:
  return cell.replace("|", "\\|")
