"""The page of predictions: report.html, one file that opens anywhere."""

import base64
from collections.abc import Iterator, Mapping, Sequence
import dataclasses
from html import escape
from pathlib import Path
import string

from jaxtyping import Float
import numpy as np

from medad_jax import files
from medad_jax.report import figures, markup, page

_TEMPLATE = Path(__file__).with_name("predicted.html")
_BINS = 40
_RED_ABOVE = (
  "Red is what exceeds the value that no more than the asked share of normal"
  " images exceeds anywhere."
)
_RED_ABOVE_ALL = (
  "Red is what exceeds the largest value of all held-out normal images."
)


@dataclasses.dataclass(frozen=True)
class Row:
  """An image of the page.

  Attributes:
    file: its name.
    patient: "" where none is known.
    score: of the image.
    p_value: as the table has it; "" without held-out images.
    flag: "1", "0" or "".
    overlay: its PNG file, which need not be there.
  """

  file: str
  patient: str
  score: float
  p_value: str
  flag: str
  overlay: Path


@dataclasses.dataclass(frozen=True)
class Predicted:
  """Everything that the page shows.

  Attributes:
    title: of the page.
    lead: the result in a sentence.
    sentences: on the threshold, and on drift.
    scores: of all images.
    held_out: of held-out normal images; empty without any.
    threshold: above it an image is flagged; None without one.
    highest: images with the highest scores, the highest first.
    typical: a few in the middle of all.
    unreadable: reasons by file, of some files without an image.
    origin: where the scores come from.
  """

  title: str
  lead: str
  sentences: Sequence[str]
  scores: Float[np.ndarray, "n"]
  held_out: Float[np.ndarray, "m"]
  threshold: float | None
  highest: Sequence[Row]
  typical: Sequence[Row]
  unreadable: Mapping[str, str]
  origin: Mapping[str, str]


def write(path: Path, found: Predicted) -> None:
  """Writes the page.

  Raises:
    UserError: it cannot be written; a page that was there stays.
  """
  template = string.Template(_TEMPLATE.read_text("utf-8"))
  drawn = [row for row in (*found.highest, *found.typical)]
  pictures = [_overlay(row) for row in drawn if row.overlay.exists()]
  bad = [(escape(k), escape(why)) for k, why in found.unreadable.items()]
  content = template.substitute(
    style=page.style(),
    title=escape(found.title),
    lead=escape(found.lead),
    sentences="\n".join(f"<p>{escape(text)}</p>" for text in found.sentences),
    histogram=_figure(
      "scores",
      _histogram(found),
      "Histograms of the scores of new and of held-out normal images",
      "Scores of new images and of the normal ones that were held out. Dashed:"
      " the threshold.",
    ),
    highest=markup.table(
      "The highest scores",
      ("file", "patient", "score", "p-value", "flag"),
      [_cells(row) for row in found.highest],
      right=3,
    ),
    red=_RED_ABOVE if found.threshold is not None else _RED_ABOVE_ALL,
    gallery="\n".join(pictures) or "<p>No overlays were drawn.</p>",
    caveats=markup.bullets(_caveats(found)),
    unreadable=markup.table("Some of them", ("file", "reason"), bad)
    if bad
    else "<p>None: every file was read.</p>",
    origin=markup.pairs("Where the numbers come from", found.origin.items()),
  )
  files.write(path, content)


def _caveats(found: Predicted) -> Iterator[str]:
  yield "Research software: no evidence for diagnosing a patient."
  yield (
    "A p-value is the share of normal images that would score as high, at most;"
    " with many images some are small by chance."
  )
  yield (
    "The rate of false alarms is promised for normal images like those that"
    " were held out: of the same scanners, protocols and patients. It says"
    " nothing of how many abnormal images are found."
  )
  if found.threshold is None:
    yield "There is no threshold, so that no image is flagged."


def _histogram(found: Predicted) -> bytes:
  both = np.concatenate([found.scores, found.held_out])
  figure = figures.canvas(8.0, 3.2)
  axes = figure.add_subplot()
  if len(both):
    bins = np.linspace(both.min(), both.max() + 1e-9, _BINS + 1)
    for name, values, color in (
      ("held-out normal", found.held_out, figures.NORMAL),
      ("new", found.scores, figures.SYNTHETIC),
    ):
      if len(values):
        weights = np.full(len(values), 1 / len(values))
        label = f"{name} ({len(values):,})"
        axes.hist(
          values, bins, weights=weights, color=color, alpha=0.5, label=label
        )
    if found.threshold is not None:
      axes.axvline(found.threshold, color="black", linestyle="--", linewidth=1)
    axes.legend(loc="best")
  axes.set(xlabel="score", ylabel="share of images")
  return figures.png(figure)


def _cells(row: Row) -> tuple[str, ...]:
  return (
    escape(row.file),
    escape(row.patient or "-"),
    f"{row.score:.4g}",
    f"{float(row.p_value):.2g}" if row.p_value else "-",
    row.flag or "-",
  )


def _overlay(row: Row) -> str:
  said = f"score {row.score:.4g}"
  if row.p_value:
    said += f", p {float(row.p_value):.2g}"
  if row.flag == "1":
    said += ", flagged"
  caption = f"{row.file}: {said}"
  name = f"Overlay of {row.file}"
  return _figure("overlay", row.overlay.read_bytes(), name, caption)


def _figure(kind: str, content: bytes, alternative: str, caption: str) -> str:
  data = base64.b64encode(content).decode()
  return (
    f'<figure class="{kind}"><img alt="{escape(alternative)}"'
    f' src="data:image/png;base64,{data}">'
    f"<figcaption>{escape(caption)}</figcaption></figure>"
  )
