"""Results as text: the table for the terminal, and the format of numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from medad_jax.report.results import Results, Score, TestSet
from medad_jax.scoring import detection, metrics, pixel_metrics

PIXEL_HEADER = ("pixels of", "AUROC", "AP", "AUPRO", "oracle Dice")
# Said under the tables of scores where no patients are known.
INDEPENDENT = (
  "Intervals take images as independent: with several images of a patient they"
  " are too narrow"
)
DETECTION_HEADER = (
  "boxes found by",
  "threshold",
  "class",
  "found",
  "rate [95% CI]",
  "precision",
  "F1",
)
DRIFT = 0.01  # p-values below it are an alarm
_PIXELS = ("pixel_auroc", "pixel_ap", "aupro", "oracle_dice")


def results_table(results: Results) -> str:
  """The scores as tables of fixed width, for the terminal."""
  lines = [_title(results), "", *_tables(results, results.main)]
  for name, found in results.sets.items():
    lines += ["", f"test set {name}, {images(found)}", ""]
    lines += _tables(results, found)
  lines += ["", *dict.fromkeys(map(basis, all_sets(results)))]
  if results.seeds > 1:
    lines.append("They hold these trainings fixed; ± is over the seeds.")
  if said := alarm_sentences(results.operating):
    lines += ["", *said]
  return "\n".join(lines)


def images(found: TestSet) -> str:
  """Numbers of test images of each class, in words."""
  counts = next(iter(found.scores.values())).ranking
  return (
    f"{counts.n_normal:,} normal and {counts.n_abnormal:,} abnormal test images"
  )


def all_sets(results: Results) -> list[TestSet]:
  """The main test set and the further ones."""
  return [results.main, *results.sets.values()]


def patients(found: TestSet) -> int | None:
  """Number of patients that the intervals resample; None for images."""
  return next(iter(found.scores.values())).ranking.n_patients


def basis(found: TestSet) -> str:
  """One sentence on what the intervals of a test set take as independent."""
  if (count := patients(found)) is None:
    return f"{INDEPENDENT}."
  return (
    f"Intervals take {count:,} patients as independent, whatever the number of"
    " their images (cluster bootstrap)."
  )


def alarm_sentences(found: Mapping[str, Any]) -> list[str]:
  """Sentences on the threshold from held-out images; none without any."""
  if "threshold" not in found:
    return []
  if found["threshold"] is None:
    return [f"No threshold: {found['refused']}"]
  patients = found["n_held_out_patients"]
  of = "" if patients is None else f" of {patients:,} patients"
  sure = found["confidence"]
  said = [
    f"Images with {found['score']} above {found['threshold']:.6g} are flagged."
    f" The threshold is from {found['n_held_out']:,} held-out normal images{of}"
    f" and allows at most {found['false_alarms']:.1%} false alarms"
    + (" on average." if sure is None else f" with {sure:.0%} confidence.")
  ]
  rates = [
    f"{name} {with_interval(found[name]['value'], found[name]['ci'])}"
    for name in ("sensitivity", "specificity", "ppv", "npv")
    if name in found
  ]
  if rates:
    said.append(f"On the test set: {', '.join(rates)}.")
  if found.get("drift_p", 1) < DRIFT:
    said.append(
      "The normal test images score otherwise than the held-out ones"
      f" (p = {found['drift_p']:.2g}): the threshold may not hold for them."
    )
  return said


def audit_sentences(results: Results) -> list[str]:
  """Findings of the audits of the run's data sets; none without any audit."""
  return [
    f"Audit of {name}: {sentence}."
    for name, found in results.data.get("audit", {}).items()
    for sentence in found["sentences"]
  ]


def unofficial(weights: Mapping[str, str]) -> str:
  """Names and origins of pretrained weights that are not the official ones."""
  return ", ".join(
    f"{name} {origin}"
    for name, origin in weights.items()
    if origin != "official"
  )


def weights_sentences(weights: Mapping[str, str]) -> list[str]:
  """The sentence on weights that are not the official ones; none if all are."""
  origins = unofficial(weights)
  if not origins:
    return []
  return [f"Pretrained weights are not the official ones: {origins}."]


def pixel_rows(scores: Mapping[str, Score]) -> list[tuple[str, ...]]:
  """Metrics of the maps, of the scores that have one; see `PIXEL_HEADER`."""
  return [
    (name, *(metric(score, key) for key in _PIXELS))
    for name, score in scores.items()
    if score.pixels is not None
  ]


def detection_rows(
  scores: Mapping[str, Score], classes: bool = True
) -> list[tuple[str, ...]]:
  """Boxes found at each threshold, also by class; see `DETECTION_HEADER`."""
  rows = []
  for name, score in scores.items():
    at = score.detection.at if score.detection is not None else {}
    for rule, found in at.items():
      limit = f"{rule} ({found.threshold:.3g})"
      rates = {"all": found.total}
      if found.without_artefacts is not None:
        rates[f"all but {detection.ARTEFACTS}"] = found.without_artefacts
      if classes and len(found.classes) > 1:
        rates |= found.classes
      rows += [
        (name, limit, kind, *_rate(rate)) for kind, rate in rates.items()
      ]
  return rows


def fidelity_line(found: TestSet) -> str | None:
  """One line on the reconstructions; None where there are none."""
  if found.fidelity is None:
    return None
  shown = {"mae": "MAE", "ssim": "SSIM", "lpips_alex": "LPIPS (AlexNet)"}
  parts = []
  for name, title in shown.items():
    if (value := getattr(found.fidelity, name)) is not None:
      text = f"{title} {number(value, 4)}"
      if spread := found.fidelity_over_seeds.get(name):
        text += f" ± {number(spread.std, 4)}"
      parts.append(text)
  return f"reconstructions of gray values in [0, 1]: {', '.join(parts)}"


def metric(score: Score, name: str) -> str:
  """A metric with its interval, and of several trainings the deviation."""
  of: metrics.Ranking | pixel_metrics.Pixels | None = score.ranking
  if not hasattr(of, name):
    of = score.pixels
  ends = getattr(of, f"{name}_ci", None)
  if score.over_seeds:
    spread = score.over_seeds[name]
    text = f"{number(spread.mean, 3)} ± {number(spread.std, 3)}"
    return f"{text} {brackets(ends)}" if ends else text
  text = with_interval(getattr(of, name), ends)
  drawn = score.over_draws.get(name)
  if drawn is not None and drawn.std is not None:
    text += f" (draws ± {number(drawn.std, 3)})"
  return text


def with_interval(
  value: float | None, interval: Sequence[float] | None, sign: str = ""
) -> str:
  """The value, and its interval in brackets."""
  if interval is None:
    return number(value, 3, sign)
  return f"{number(value, 3, sign)} {brackets(interval, sign)}"


def brackets(interval: Sequence[float], sign: str = "") -> str:
  """An interval's ends in brackets."""
  low, high = (number(end, 3, sign) for end in interval)
  return f"[{low}, {high}]"


def p_value(p: float | None) -> str:
  """A p-value with its relation sign, or a dash."""
  if p is None:
    return "-"
  return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def number(value: float | None, digits: int, sign: str = "") -> str:
  """The value, or a dash where there is none."""
  return "-" if value is None else f"{value:{sign}.{digits}f}"


def _last_detecting(found: TestSet) -> list[tuple[str, Score]]:
  """The headline, or the last score whose map finds boxes; at most one."""
  able = [item for item in found.scores.items() if item[1].detection]
  return able[-1:]


def _rate(found: detection.Rate) -> tuple[str, ...]:
  count = f"{found.found:.3g}"
  if found.found_std is not None:
    count += f" ± {found.found_std:.2g}"
  return (
    f"{count} of {found.boxes:,}",
    with_interval(found.rate, found.rate_ci),
    number(found.precision, 3),
    number(found.f1, 3),
  )


def _tables(results: Results, found: TestSet) -> list[str]:
  """Lines of the tables of one test set."""
  spread = "mean ± std [95% CI]" if results.seeds > 1 else "[95% CI]"
  header = (
    *("score", f"AUROC {spread}", f"AP {spread}"),
    *("FPR at 95%", "at 99%", "chi2"),
  )
  rows = [
    (
      name,
      metric(s, "auroc"),
      metric(s, "ap"),
      number(s.ranking.fpr95, 3),
      number(s.ranking.fpr99, 3),
      number(s.ranking.chi2, 2),
    )
    for name, s in found.scores.items()
  ]
  lines = aligned(header, rows, right=3)
  if pixels := pixel_rows(found.scores):
    lines += ["", *aligned(PIXEL_HEADER, pixels, right=4)]
  if boxes := detection_rows(dict(_last_detecting(found)), False):
    lines += ["", *aligned(DETECTION_HEADER, boxes, right=2)]
  if close := fidelity_line(found):
    lines += ["", close]
  return lines


def _title(results: Results) -> str:
  title = f"{results.method} on {results.dataset}, {images(results.main)}"
  if results.seeds > 1:
    title += f", {results.seeds} seeds"
  origins = unofficial(results.weights)
  return f"{title}\nnot the official weights: {origins}" if origins else title


def aligned(
  header: Sequence[str], rows: Sequence[Sequence[str]], right: int
) -> list[str]:
  """Lines of equal width, the last `right` columns flush right."""
  table = [header, *rows]
  widths = [max(map(len, column)) for column in zip(*table, strict=True)]
  sides = [str.ljust] * (len(header) - right) + [str.rjust] * right
  lines = [
    "  ".join(
      side(cell, width)
      for side, cell, width in zip(sides, row, widths, strict=True)
    )
    for row in table
  ]
  return [lines[0], "-" * len(lines[0]), *lines[1:]]
