"""The page a run leaves: report.html, one file that opens anywhere.

No scripts, no links to elsewhere; pictures are inside. The caveats stand on
the page, as it travels without the documentation.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
import string
from typing import Any

from medad_jax.report import provenance, table

_TEMPLATE = Path(__file__).with_name("page.html")
_FEW = 100  # images of a class below which the page warns

# Captions by the beginning of the file's name, the longest beginning first.
_CAPTIONS = {
  "gallery": (
    "Test images from the lowest to the highest score of each class, chosen by"
    " rank and not by hand. Every kind of map has one color scale for all"
    " images (bars below), so dark means the same everywhere."
  ),
  "precision_recall": (
    "Precision and recall at every threshold; dotted: the share of abnormal"
    " test images. Gray: single members of the ensemble."
  ),
  "roc": (
    "Sensitivity against false alarms at every threshold; dotted: chance."
    " Gray: single members of the ensemble."
  ),
  "histogram": "Scores of both classes in 100 bins, scaled to one range.",
  "training": "Training metrics over steps, one line a member.",
}


def write(
  path: Path, results: Mapping[str, Any], figures: Sequence[Path]
) -> None:
  """Writes the page.

  Args:
    path: of the HTML file.
    results: what results.json holds.
    figures: PNG files, in the order of the page.
  """
  page = string.Template(_TEMPLATE.read_text()).substitute(
    title=escape(f"{results['method']} on {results['dataset']}"),
    lead=_lead(results),
    scores=_scores(results["scores"]),
    comparisons=_comparisons(results["comparisons"]),
    caveats=_list(_caveats(results)),
    figures="\n".join(_figure(figure) for figure in figures),
    run=_pairs(_run(results)),
    config=_pairs(_flat(results["config"])),
  )
  path.write_text(page)


def _lead(results: Mapping[str, Any]) -> str:
  """The method's last score, which is its own choice, in one sentence."""
  name, score = list(results["scores"].items())[-1]
  return (
    f"On {table.images(results)}, the score <code>{escape(name)}</code> reaches"
    f" an AUROC of <strong>{table.metric(score, 'auroc')}"
    "</strong> and an average precision of <strong>"
    f"{table.metric(score, 'ap')}</strong>."
  )


def _scores(scores: Mapping[str, Any]) -> str:
  ends = [s["auroc_ci"][0] for s in scores.values() if s["auroc_ci"]]
  low = 0.0 if min(ends, default=0.5) < 0.5 else 0.5
  rows = [
    (
      f"<code>{escape(name)}</code>",
      table.metric(score, "auroc"),
      _interval_bar(score["auroc"], score["auroc_ci"], low),
      table.metric(score, "ap"),
      table.number(score["chi2"], 2),
      table.number(score["chi2_corrected"], 2),
    )
    for name, score in scores.items()
  ]
  scale = f'<span class="scale"><span>{low:g}</span><span>1</span></span>'
  several = any("over_seeds" in score for score in scores.values())
  spread = "mean ± std" if several else "[95 % CI]"
  header = (
    "score",
    f"AUROC {spread}",
    scale,
    f"AP {spread}",
    "χ²",
    "χ², no empty bins",
  )
  tables = [_table(header, rows, right=2)]
  if pixels := table.pixel_rows(scores):
    marked = [(f"<code>{escape(n)}</code>", *values) for n, *values in pixels]
    tables.append(_table(table.PIXEL_HEADER, marked, right=4))
  return "\n".join(tables)


def _interval_bar(
  value: float | None, interval: Sequence[float] | None, low: float
) -> str:
  """The interval as a line with a dot, on an axis from `low` to 1."""
  if value is None:
    return ""
  first, last = interval or (value, value)
  left, dot, right = (
    round(100 * (v - low) / (1 - low), 2) for v in (first, value, last)
  )
  return (
    '<span class="axis">'
    f'<span class="line" style="left:{left}%;width:{right - left:.2f}%"></span>'
    f'<span class="dot" style="left:{dot}%"></span></span>'
  )


def _comparisons(comparisons: Sequence[Mapping[str, Any]]) -> str:
  if not comparisons:
    return "<p>None: one score only, or several trainings.</p>"
  rows = [
    (
      f"<code>{escape(c['a'])}</code> – <code>{escape(c['b'])}</code>",
      table.with_interval(c["auroc_difference"], c["ci"], sign="+"),
      _p_value(c["p"]),
    )
    for c in comparisons
  ]
  return _table(("scores", "difference of AUROC [95 % CI]", "p"), rows)


def _caveats(results: Mapping[str, Any]) -> Iterator[str]:
  """What a reader must know to read the numbers rightly."""
  counts = next(iter(results["scores"].values()))
  normal, abnormal = counts["n_normal"], counts["n_abnormal"]
  yield (
    "Research software: these numbers say how a method ranks the images of one"
    " benchmark. They are no evidence for diagnosing a patient."
  )
  if not normal or not abnormal:
    yield "One class is missing from the test images: no metric is defined."
  elif min(normal, abnormal) < _FEW:
    yield f"Few test images (under {_FEW} in a class): intervals are wide."
  if origins := table.unofficial(results):
    yield f"Pretrained weights are not the official ones: {origins}."
  if results["seeds"] > 1:
    yield (
      f"Means and standard deviations (n - 1) of {results['seeds']} trainings,"
      f" seeds {results['seed']} and on; curves and pictures are the first's."
      " They do not hold the chance of which images were tested."
    )
  else:
    yield (
      "Intervals are those of the test images' chance (AUROC: DeLong, logit"
      " scale; AP: stratified bootstrap). They take images as independent, so"
      " with several images of a patient they are too narrow, and one training"
      f" (seed {results['seed']}) says nothing of how results vary between"
      " trainings."
    )
  if any(s["ap"] == 1 for s in results["scores"].values()):
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
  if number := len(results["comparisons"]):
    yield (
      "Differences are paired by image (DeLong); p-values are two-sided and not"
      f" adjusted for the number of comparisons ({number})."
    )
  yield (
    "No threshold was chosen: a threshold, an epoch or a score picked by its"
    " result on these images would have to be judged on others."
  )
  if table.pixel_rows(results["scores"]):
    yield (
      "Oracle Dice takes the threshold that is best on these very masks: it is"
      " a ceiling, and no one reaches it without the masks."
    )


def _figure(path: Path) -> str:
  kind = next(k for k in (*_CAPTIONS, "") if path.stem.startswith(k))
  caption = _CAPTIONS.get(kind, "")
  data = base64.b64encode(path.read_bytes()).decode()
  return (
    f'<figure class="{kind or "other"}"><img alt="{escape(path.stem)}"'
    f' src="data:image/png;base64,{data}">'
    f"<figcaption>{escape(caption)}</figcaption></figure>"
  )


def _run(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
  """Where the numbers come from."""
  yield "method", results["method"]
  yield "data set", results["dataset"]
  yield "fingerprint of the data", results["data"]["fingerprint"]
  for name, count in _flat(results["data"]["counts"]):
    yield f"images, {name}", count
  yield "ensemble members", str(results["members"])
  yield "seed", str(results["seed"])
  yield "seeds", str(results["seeds"])
  for name, origin in results["weights"].items():
    yield f"weights of {name}", origin
  for phase, seconds in results["seconds"].items():
    yield f"training time, {phase}", _duration(seconds)
  yield from provenance.rows(results["training"], results["evaluation"])


def _flat(
  tree: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str]]:
  """Leaves of nested mappings with dotted names, as they are overridden."""
  for name, value in tree.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f"{prefix}{name}.")
    else:
      yield f"{prefix}{name}", str(value)


def _table(
  header: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0
) -> str:
  """A table whose last `right` columns are flush right."""

  def line(tag: str, cells: Sequence[str]) -> str:
    kinds = [""] * (len(cells) - right) + [' class="right"'] * right
    marked = zip(kinds, cells, strict=True)
    row = "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in marked)
    return f"<tr>{row}</tr>"

  body = "\n".join(line("td", row) for row in rows)
  return (
    f'<div class="wide"><table><thead>{line("th", header)}</thead>'
    f"<tbody>{body}</tbody></table></div>"
  )


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
  rows = "\n".join(
    f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
    for name, value in pairs
  )
  return f'<div class="wide"><table class="pairs">{rows}</table></div>'


def _list(items: Iterable[str]) -> str:
  return (
    "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
  )


def _p_value(p: float | None) -> str:
  if p is None:
    return "-"
  return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"


def _duration(seconds: float) -> str:
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours} h {minutes} min"
  return f"{minutes} min {rest} s" if minutes else f"{rest} s"
