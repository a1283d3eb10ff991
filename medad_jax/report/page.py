"""The page a run leaves: report.html, one file that opens anywhere.

No scripts, no links to elsewhere; pictures are inside. The caveats stand on
the page, as it travels without the documentation.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
import string
from typing import Any

from medad_jax import files
from medad_jax.report import claim, markup, provenance, table
from medad_jax.report.results import Comparison, Results, Score, TestSet

_TEMPLATE = Path(__file__).with_name("page.html")
_STYLE = Path(__file__).with_name("page.css")
_FEW = 100  # images of a class below which the page warns

# Captions by the kind of figure, which is the beginning of its file's name.
_CAPTIONS = {
  "gallery": (
    "Test images from the lowest to the highest score of each class, chosen by"
    " rank and not by hand. Every kind of map has one color scale for all"
    " images (bars below), so dark means the same everywhere."
  ),
  "worst": (
    "The normal test images of the highest scores, which are flagged first, and"
    " the abnormal ones of the lowest, which are missed first. Color scales as"
    " above, from these images."
  ),
  "precision_recall": (
    "Precision and recall at every threshold; dotted: the share of abnormal"
    " test images. Gray: single members of the ensemble. Band: 95 % of"
    " resampled images, of the headline at each recall."
  ),
  "roc": (
    "Sensitivity against false alarms at every threshold; dotted: chance."
    " Gray: single members of the ensemble. Band: 95 % of resampled images, of"
    " the headline at each rate."
  ),
  "latents": (
    "Codes of the images on a plane (t-SNE), those of all members side by side."
    " Near points are alike; distances between groups mean little."
  ),
  "histogram": (
    "Scores of both classes in 100 bins, scaled to one range. Dashed: the"
    " threshold, where held-out normal images gave one."
  ),
  "training": "Training metrics over steps, one line a member.",
}
# What a figure shows, for those who do not see it; {} is the score's name.
_ALTERNATIVES = {
  "gallery": "Test images with their reconstructions and maps, in rows",
  "worst": "Normal images of high and abnormal images of low scores, in rows",
  "precision_recall": "Precision-recall curves of {}",
  "roc": "ROC curves of {}",
  "latents": "Scatter plot of the codes of normal and abnormal images",
  "histogram": "Histograms of {} for normal and abnormal images",
  "training": "Line plots of the training metrics over steps",
}


def write(path: Path, results: Results, figures: Sequence[Path]) -> None:
  """Writes the page.

  Args:
    path: of the HTML file.
    results: what results.json holds.
    figures: PNG files, in the order of the page.

  Raises:
    UserError: it cannot be written; a page that was there stays.
  """
  template = string.Template(_TEMPLATE.read_text("utf-8"))
  scores = [_scores(results.main, results.seeds)]
  for name, found in results.sets.items():
    scores.append(f"<h3>Test set {escape(name)}, {table.images(found)}</h3>")
    scores.append(_scores(found, results.seeds, f", test set {name}"))
  page = template.substitute(
    style=style(),
    title=escape(f"{results.method} on {results.dataset}"),
    lead=_lead(results),
    scores="\n".join([*scores, *_operating(results.operating)]),
    comparisons=_comparisons(results.main.comparisons),
    caveats=markup.bullets(_caveats(results)),
    figures="\n".join(_figure(figure, results) for figure in figures),
    found=markup.pairs("Images by split", _found(results)),
    claim=markup.pairs("CLAIM, as far as the run knows", claim.rows(results)),
    run=markup.pairs("Where the numbers come from", _run(results)),
    config=markup.pairs("Fields of the configuration", _flat(results.config)),
  )
  files.write(path, page)


def style() -> str:
  """The style sheet of all pages."""
  return _STYLE.read_text("utf-8")


def _lead(results: Results) -> str:
  """The headline score, which the method chooses, in one sentence."""
  name, score = list(results.main.scores.items())[-1]
  return (
    f"On {table.images(results.main)}, the score <code>{escape(name)}</code>"
    f" reaches an AUROC of <strong>{table.metric(score, 'auroc')}"
    "</strong> and an average precision of <strong>"
    f"{table.metric(score, 'ap')}</strong>."
  )


def _scores(found: TestSet, seeds: int, of: str = "") -> str:
  """The tables of one test set, and what they rest on.

  Args:
    found: its results.
    seeds: trainings of the run.
    of: ends the captions, which tell tables apart.
  """
  scores = found.scores
  intervals = [score.ranking.auroc_ci for score in scores.values()]
  ends = [interval[0] for interval in intervals if interval]
  low = 0.0 if min(ends, default=0.5) < 0.5 else 0.5
  rows = [
    (
      f"<code>{escape(name)}</code>",
      table.metric(score, "auroc"),
      _interval_bar(score, low),
      table.metric(score, "ap"),
      table.number(score.ranking.fpr95, 3),
      table.number(score.ranking.fpr99, 3),
      table.number(score.ranking.chi2, 2),
      table.number(score.ranking.chi2_corrected, 2),
    )
    for name, score in scores.items()
  ]
  scale = f'<span class="scale"><span>{low:g}</span><span>1</span></span>'
  spread = "mean ± std" if seeds > 1 else "[95 % CI]"
  header = (
    "score",
    f"AUROC {spread}",
    scale,
    f"AP {spread}",
    "FPR at 95 % sensitivity",
    "at 99 %",
    "χ²",
    "χ², no empty bins",
  )
  tables = [markup.table(f"Scores of the images{of}", header, rows, right=4)]
  if seeds == 1:
    tables.append(f"<p>{escape(table.basis(found))}</p>")
  if pixels := table.pixel_rows(scores):
    marked = [(f"<code>{escape(n)}</code>", *values) for n, *values in pixels]
    caption = f"Maps, measured by their pixels{of}"
    tables.append(markup.table(caption, table.PIXEL_HEADER, marked, right=4))
  if boxes := table.detection_rows(scores):
    marked = [
      (f"<code>{escape(n)}</code>", *map(escape, values))
      for n, *values in boxes
    ]
    caption = f"Boxes that the maps find{of}"
    tables.append(
      markup.table(caption, table.DETECTION_HEADER, marked, right=2)
    )
  if close := table.fidelity_line(found):
    tables.append(f"<p>{escape(close[0].upper() + close[1:])}.</p>")
  return "\n".join(tables)


def _operating(found: Mapping[str, Any]) -> Iterator[str]:
  """Sentences on the threshold, sensitivities, and groups apart."""
  for sentence in table.alarm_sentences(found):
    yield f"<p>{escape(sentence)}</p>"
  at = found.get("sensitivity_at_specificity", {}).items()
  rows: list[tuple[str, ...]] = [
    (f"{float(specificity):.0%}", table.with_interval(s["value"], s["ci"]))
    for specificity, s in at
  ]
  if rows:
    title = "Sensitivity of the headline score"
    yield markup.table(title, ("specificity", "sensitivity [95 % CI]"), rows)
  for column, groups in found.get("groups", {}).items():
    rows = [
      (
        escape(group or "not known"),
        str(one["n_normal"] + one["n_abnormal"]),
        *(
          table.with_interval(one[name]["value"], one[name]["ci"])
          for name in ("sensitivity", "specificity")
        ),
      )
      for group, one in groups.items()
    ]
    header = (escape(column), "images", "sensitivity", "specificity")
    yield markup.table(f"At the threshold, by {escape(column)}", header, rows)


def _interval_bar(score: Score, low: float) -> str:
  """The AUROC's interval as a line with a dot, on an axis from `low` to 1."""
  value = score.ranking.auroc
  if value is None:
    return ""
  first, last = score.ranking.auroc_ci or (value, value)
  left, dot, right = (
    round(100 * (v - low) / (1 - low), 2) for v in (first, value, last)
  )
  return (
    '<span class="axis" aria-hidden="true">'
    f'<span class="line" style="left:{left}%;width:{right - left:.2f}%"></span>'
    f'<span class="dot" style="left:{dot}%"></span></span>'
  )


def _comparisons(comparisons: Sequence[Comparison]) -> str:
  if not comparisons:
    return "<p>None: one score only, or several trainings.</p>"
  rows = [
    (
      f"<code>{escape(c.a)}</code> – <code>{escape(c.b)}</code>",
      table.with_interval(c.auroc_difference, c.ci, sign="+"),
      escape(table.p_value(c.p).removeprefix("= ")),
    )
    for c in comparisons
  ]
  header = ("scores", "difference of AUROC [95 % CI]", "p")
  return markup.table("The headline score and each other one", header, rows)


def _caveats(results: Results) -> Iterator[str]:
  """Caveats that a reader needs to read the numbers correctly."""
  scores = results.main.scores
  counts = next(iter(scores.values())).ranking
  normal, abnormal = counts.n_normal, counts.n_abnormal
  yield (
    "Research software: these numbers say how a method ranks the images of one"
    " benchmark. They are no evidence for diagnosing a patient."
  )
  if not normal or not abnormal:
    yield "One class is missing from the test images: no metric is defined."
  elif min(normal, abnormal) < _FEW:
    yield f"Few test images (under {_FEW} in a class): intervals are wide."
  yield from table.audit_sentences(results)
  yield from table.weights_sentences(results.weights)
  if results.seeds > 1:
    yield (
      f"Means and standard deviations (n - 1) of {results.seeds} trainings,"
      f" seeds {results.seed} and on; curves and pictures are the first's."
      " Intervals beside them hold these trainings fixed, and say what other"
      " test images might have given."
    )
  else:
    yield (
      f"One training (seed {results.seed}) says nothing of how results vary"
      " between trainings."
    )
  yield from _sampling(results)
  if any(score.ranking.ap == 1 for score in scores.values()):
    yield (
      "An average precision of 1 has no interval: resampled images are"
      " separated perfectly, too."
    )
  if normal + abnormal:
    share = abnormal / (normal + abnormal)
    yield (
      f"Average precision depends on the share of abnormal images: {share:.0%}"
      " here, rarely so in a clinic."
    )
  yield (
    "χ² follows the definition of the DDAD-ASR authors, in which each of 100"
    " bins that is empty in both classes adds 0.5. The second column leaves"
    " those bins out."
  )
  if number := len(results.main.comparisons):
    yield (
      f"Differences are paired by image ({_test(results)}); p-values are"
      " two-sided and not"
      f" adjusted for the number of comparisons ({number})."
    )
  yield from _about_thresholds(results)


def _about_thresholds(results: Results) -> Iterator[str]:
  """Yields sentences on the origin of the thresholds of scores and maps."""
  yield (
    "Nothing was chosen by these images: a threshold, an epoch or a score that"
    " was picked by its result on them would have to be judged on others."
  )
  sets = [found.scores for found in table.all_sets(results)]
  if any(map(table.detection_rows, sets)):
    yield (
      "A box is found when more than a tenth of its pixels reach a threshold."
      " Thresholds named by a percentage are those that so many pixels of the"
      " normal test images reach. Intervals of rates (Wilson) take boxes as"
      " independent."
    )
  if table.pixel_rows(results.main.scores):
    yield (
      "Oracle Dice takes the threshold that is best on these very masks: it is"
      " a ceiling, and no one reaches it without the masks."
    )


def _test(results: Results) -> str:
  by_image = table.patients(results.main) is None
  return "DeLong" if by_image else "cluster bootstrap of patients"


def _sampling(results: Results) -> Iterator[str]:
  """Yields sentences on the meaning of the intervals."""
  known = [table.patients(found) for found in table.all_sets(results)]
  if None in known:
    yield (
      "Intervals describe the sampling of the test images (AUROC: Newcombe,"
      " with DeLong's variance where that is larger; AP and pixels: stratified"
      " bootstrap of images)."
      " Where a set has ten images a patient, intervals of 95 % hold the true"
      " AUROC in 60 to 70 % of test sets."
    )
  if any(count is not None for count in known):
    yield (
      "Where patients are known, intervals and differences describe the"
      " sampling of patients (cluster bootstrap)."
    )


def _figure(path: Path, results: Results) -> str:
  kind = next(kind for kind in _CAPTIONS if path.stem.startswith(kind))
  # A histogram's file is named after its score; curves show all scores.
  name = path.stem.removeprefix(kind).removeprefix("_")
  of = f"the score {name}" if name else ", ".join(results.main.scores)
  alternative = escape(_ALTERNATIVES[kind].format(of))
  data = base64.b64encode(path.read_bytes()).decode()
  return (
    f'<figure class="{kind}"><img alt="{alternative}"'
    f' src="data:image/png;base64,{data}">'
    f"<figcaption>{escape(_CAPTIONS[kind])}</figcaption></figure>"
  )


def _found(results: Results) -> Iterator[tuple[str, str]]:
  """The data set, and what its test images are."""
  yield "data set", results.dataset
  for name, count in results.data["counts"].items():
    yield name, f"{count:,}"
  for name, found in {"test": results.main, **results.sets}.items():
    yield f"evaluated as {name}", table.images(found)
  held_out = results.operating.get("n_held_out")
  if held_out:
    yield "held out for the threshold", f"{held_out:,} normal images"


def _run(results: Results) -> Iterator[tuple[str, str]]:
  """The origin of the numbers."""
  yield "method", results.method
  yield "data set", results.dataset
  yield "fingerprint of the data", results.data["fingerprint"]
  yield "ensemble members", str(results.members)
  yield "seed", str(results.seed)
  yield "seeds", str(results.seeds)
  for name, origin in results.weights.items():
    yield f"weights of {name}", origin
  for phase, seconds in results.seconds.items():
    yield f"training time, {phase}", _duration(seconds)
  yield from provenance.rows(results.trained, results.evaluated)


def _flat(
  tree: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str]]:
  """Leaves of nested mappings with dotted names, as they are overridden."""
  for name, value in tree.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f"{prefix}{name}.")
    else:
      yield f"{prefix}{name}", str(value)


def _duration(seconds: float) -> str:
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours} h {minutes} min"
  return f"{minutes} min {rest} s" if minutes else f"{rest} s"
