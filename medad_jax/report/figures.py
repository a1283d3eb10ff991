"""Pictures of a run's results, as the bytes of PNG files.

matplotlib is imported where it is used: a run without it still has its scores.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import io
import os
from typing import Any
import warnings

from jaxtyping import Bool, Float, UInt8
import numpy as np

from medad_jax.scoring import bands, metrics

# matplotlib's classes, which are not imported for an annotation.
Figure = Any
Axes = Any

NORMAL, ABNORMAL, SYNTHETIC = "tab:blue", "tab:red", "tab:orange"
_DPI = 150
_CELL = 1.25  # inches a gallery image
_FILLED = 0.96  # of a gallery cell; the rest is a gap
_CAPTION = 24  # characters that fit beside a gallery row
# The gallery's color scale leaves out this share of a map's pixels at both
# ends: a few outliers must not turn all other images black.
_OUTLIERS = 0.005


@dataclasses.dataclass(frozen=True)
class Row:
  """One image of the gallery and what a method says of it.

  Attributes:
    image: as the data set holds it.
    reconstruction: in [-1, 1], None where the method has none.
    maps: pixel maps by name, higher is more abnormal.
    mask: True on the lesion, None where it is unknown.
    caption: a few short lines.
  """

  image: UInt8[np.ndarray, "h w c"]
  reconstruction: Float[np.ndarray, "h w c"] | None
  maps: Mapping[str, Float[np.ndarray, "h w"]]
  mask: Bool[np.ndarray, "h w"] | None
  caption: str

  def __post_init__(self):
    # No font draws what is left of a file name in another encoding.
    caption = self.caption.encode("utf-8", "backslashreplace").decode()
    object.__setattr__(self, "caption", caption)


def histogram(
  normal: Float[np.ndarray, "n"],
  abnormal: Float[np.ndarray, "m"],
  title: str,
  ranking: metrics.Ranking,
  threshold: float | None = None,
) -> bytes:
  """Both classes' scores in 100 bins, as the DDAD-ASR paper draws them.

  Scores are moved to [0, 1] by the extremes of both classes together.

  Args:
    normal: finite scores of normal images.
    abnormal: finite scores of abnormal images.
    title: the score's name.
    ranking: its metrics, of which the legend has the distances.
    threshold: above it images are flagged; None for none.
  """
  whole = np.concatenate([normal, abnormal])
  both = metrics.min_max(whole)
  scaled = both[: len(normal)], both[len(normal) :]
  figure = canvas(4.8, 3.2)
  axes = figure.add_subplot()
  for values, color, name in zip(
    scaled, (NORMAL, ABNORMAL), ("normal", "abnormal"), strict=True
  ):
    if len(values):
      label = f"{name} ({len(values)})"
      bins = np.linspace(0, 1, 101)
      axes.hist(values, bins, density=True, color=color, alpha=0.5, label=label)
  low, high = whole.min(initial=np.inf), whole.max(initial=-np.inf)
  if threshold is not None and high > low:
    at = (threshold - low) / (high - low)
    axes.axvline(
      np.clip(at, 0, 1), color="black", linestyle="--", label="threshold"
    )
  distances = ranking.chi2, ranking.chi2_corrected
  text = "{}\n{} without empty bins".format(
    *("–" if d is None else f"{d:.2f}" for d in distances)
  )
  axes.set(
    title=title, xlim=(0, 1), xlabel="score, scaled to 0–1", ylabel="density"
  )
  axes.legend(loc="best", title=f"χ² = {text}", alignment="left")
  return png(figure)


def roc(
  labels: metrics.Labels,
  scores: Mapping[str, Float[np.ndarray, "n"]],
  areas: Mapping[str, float | None],
  band: bands.Band | None = None,
) -> bytes:
  """ROC curves of all scores, the AUROC in the legend.

  Args:
    labels: 0 normal, 1 abnormal; with one class only there is nothing to draw
      and the picture says so.
    scores: by name.
    areas: their AUROC, by name.
    band: of the headline's curve; None for none.
  """
  figure, axes = _square("ROC", "false positive rate", "true positive rate")
  axes.plot([0, 1], [0, 1], color="gray", linewidth=0.8, linestyle=":")
  _shade(axes, band)
  for name, values in scores.items():
    curve = metrics.roc_curve(labels, values)
    if curve is not None:
      label = f"{name}  {areas[name]:.3f}"
      axes.plot(curve[0], curve[1], label=label, **_line(name))
  _legend(figure, "AUROC")
  return png(figure)


def precision_recall(
  labels: metrics.Labels,
  scores: Mapping[str, Float[np.ndarray, "n"]],
  areas: Mapping[str, float | None],
  band: bands.Band | None = None,
) -> bytes:
  """Precision-recall curves, the average precision in the legend.

  The dotted line is the share of abnormal images: a score that knows nothing.

  Args:
    labels: as in `roc`.
    scores: by name.
    areas: their average precision, by name.
    band: as in `roc`.
  """
  figure, axes = _square("Precision and recall", "recall", "precision")
  if len(labels):
    axes.axhline(labels.mean(), color="gray", linewidth=0.8, linestyle=":")
  _shade(axes, band)
  for name, values in scores.items():
    curve = metrics.precision_recall_curve(labels, values)
    if curve is not None:
      precision, recall, _ = curve
      label = f"{name}  {areas[name]:.3f}"
      # The metric's own steps: P_i between R_(i-1) and R_i.
      axes.step(recall, precision, where="pre", label=label, **_line(name))
  _legend(figure, "average precision")
  return png(figure)


def plane(places: Mapping[str, Float[np.ndarray, "_ 2"]]) -> bytes:
  """Images as points on a plane, a color a kind.

  Args:
    places: of "normal", "abnormal" and perhaps "synthetic" images.
  """
  figure = canvas(4.8, 4.8)
  axes = figure.add_subplot()
  colors = {"normal": NORMAL, "abnormal": ABNORMAL, "synthetic": SYNTHETIC}
  for kind, points in places.items():
    if len(points):
      label = f"{kind} ({len(points)})"
      axes.scatter(*points.T, s=9, alpha=0.6, color=colors[kind], label=label)
  # Distances on the plane have no unit.
  axes.set(title="Latents (t-SNE)", xticks=[], yticks=[])
  _legend(figure, "images")
  return png(figure)


def gallery(rows: Sequence[Row]) -> bytes:
  """Images in rows: input, reconstruction, every map, mask.

  A kind of map has ONE color scale for all rows, shown under its column:
  bright means the same everywhere, and a normal image may well stay dark.

  Args:
    rows: at least one; all with the same maps.
  """
  names = list(rows[0].maps)
  limits = {k: _limits([row.maps[k] for row in rows]) for k in names}
  columns = ["input", *names]
  if any(row.reconstruction is not None for row in rows):
    columns.insert(1, "reconstruction")
  if any(row.mask is not None for row in rows):
    columns.append("mask")
  figure = canvas(2.2 + _CELL * len(columns), 0.7 + (_CELL + 0.05) * len(rows))
  # An axes a column and not one a cell, which would take seconds.
  cells = _side_by_side(figure, columns, len(rows))
  for title, axes in zip(columns, cells, strict=True):
    for place, row in enumerate(rows):
      _show(axes, place, row, title, limits)
    if title in limits:
      _color_bar(figure, axes)
  for place, row in enumerate(rows):
    figure.axes[0].text(
      -0.08,
      place + 0.5,
      _shorten(row.caption),
      ha="right",
      va="center",
      fontsize=8,
      parse_math=False,  # a file's name may hold dollars
    )
  return png(figure)


def contact_sheet(columns: Mapping[str, np.ndarray]) -> bytes:
  """Examples in rows: images as they are, maps by one color scale a column.

  Args:
    columns: images [n h w c] in [0, 1] or maps [n h w], by name.
  """
  rows = len(next(iter(columns.values())))
  width = (_CELL + 0.15) * len(columns)
  figure = canvas(width, 0.7 + (_CELL + 0.05) * rows)
  cells = _side_by_side(figure, list(columns), rows)
  for values, axes in zip(columns.values(), cells, strict=True):
    for place, value in enumerate(values):
      if value.ndim == 3:
        _picture(axes, place, value)
      else:
        top = max(float(values.max()), 1e-6)
        _cell(axes, place, value, cmap="magma", vmin=0, vmax=top)
    if values.ndim == 3:
      _color_bar(figure, axes)
  return png(figure)


def canvas(width: float, height: float) -> Figure:
  """A figure outside pyplot: no window, nothing kept after it is written."""
  with _without_backend():
    from matplotlib import figure

  return figure.Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


@contextlib.contextmanager
def _without_backend() -> Iterator[None]:
  """Hides MPLBACKEND, which matplotlib checks when it is first imported.

  A notebook's backend may not be installed where its commands run, and figures
  outside pyplot have none.
  """
  backend = os.environ.pop("MPLBACKEND", None)
  try:
    yield
  finally:
    if backend is not None:
      os.environ["MPLBACKEND"] = backend


def png(figure: Figure) -> bytes:
  """The figure as the bytes of a file."""
  file = io.BytesIO()
  with warnings.catch_warnings():
    # Its font has no Chinese: file names then show boxes.
    warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
    figure.savefig(file, format="png", facecolor="white", backend="agg")
  return file.getvalue()


def _square(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
  figure = canvas(4.8, 4.8)
  axes = figure.add_subplot()
  axes.set(
    title=title,
    xlabel=xlabel,
    ylabel=ylabel,
    xlim=(0, 1),
    ylim=(0, 1.01),
    aspect="equal",
  )
  axes.grid(alpha=0.3)
  return figure, axes


def _shade(axes: Axes, band: bands.Band | None) -> None:
  if band is not None:
    axes.fill_between(
      band.at, band.low, band.high, color="tab:blue", alpha=0.18, linewidth=0
    )


def _line(name: str) -> dict[str, Any]:
  """Single members (rec_0, rec_1) stay behind the scores of the ensemble."""
  if name.rpartition("_")[2].isdigit():
    return {"linewidth": 0.7, "alpha": 0.6, "color": "gray"}
  return {"linewidth": 1.5}


def _legend(figure: Figure, title: str) -> None:
  """Names the curves below the axes, where none of them can pass."""
  (axes,) = figure.axes
  if axes.get_legend_handles_labels()[0]:
    figure.legend(
      title=title,
      loc="outside lower center",
      ncols=3,
      fontsize=8,
      title_fontsize=8,
    )
  else:
    text = "undefined: one class is missing"
    axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)


def _limits(maps: Sequence[np.ndarray]) -> tuple[float, float]:
  """The color scale of one kind of map, from all rows together."""
  values = np.concatenate([m.ravel() for m in maps])
  low, high = np.quantile(values, [_OUTLIERS, 1 - _OUTLIERS])
  return float(low), float(high if high > low else low + 1)


def _side_by_side(
  figure: Figure, titles: Sequence[str], rows: int
) -> list[Axes]:
  """An empty column of that many cells for each title."""
  columns = list(figure.subplots(1, len(titles), squeeze=False)[0])
  for title, axes in zip(titles, columns, strict=True):
    # Row r lies between r and r + 1, counted from the top.
    # From the top, as columns with a color scale have less room below.
    axes.set(xlim=(0, 1), ylim=(rows, 0), aspect="equal", anchor="N")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
  return columns


def _color_bar(figure: Figure, column: Axes) -> None:
  """The color scale of a column, below it."""
  bar = figure.colorbar(
    column.images[0],
    ax=column,
    location="bottom",
    extend="both",
    fraction=0.04,
    pad=0.01,
    panchor=False,  # the column stays level with its neighbors
  )
  bar.ax.tick_params(labelsize=6)
  bar.ax.locator_params(nbins=3)


def _show(
  axes: Axes,
  place: int,
  row: Row,
  column: str,
  limits: Mapping[str, tuple[float, float]],
) -> None:
  """Draws one cell; what a row does not have stays empty."""
  if column == "input":
    _picture(axes, place, row.image / 255)
  elif column == "reconstruction":
    if row.reconstruction is not None:
      _picture(axes, place, np.clip(row.reconstruction / 2 + 0.5, 0, 1))
  elif column in limits:
    low, high = limits[column]
    _cell(axes, place, row.maps[column], cmap="magma", vmin=low, vmax=high)
  elif row.mask is not None:
    _cell(axes, place, row.mask, cmap="gray", vmin=0, vmax=1)
  else:
    axes.text(0.5, place + 0.5, "not given", ha="center", va="center", size=7)


def _picture(axes: Axes, place: int, image: np.ndarray) -> None:
  """An image in [0, 1], gray or colored; never stretched to its own range."""
  gray = image.shape[-1] == 1
  values = image[..., 0] if gray else image
  _cell(axes, place, values, cmap="gray", vmin=0, vmax=1)


def _cell(axes: Axes, place: int, values: np.ndarray, **look: Any) -> None:
  """Draws values into the cell of that row."""
  height, width = (
    _FILLED * n / max(values.shape[:2]) for n in values.shape[:2]
  )
  axes.imshow(values, extent=(0, width, place + height, place), **look)


def _shorten(caption: str) -> str:
  """Lines that fit beside a row: long file names lose their middle."""
  half = _CAPTION // 2
  return "\n".join(
    line if len(line) <= _CAPTION else f"{line[: half - 1]}…{line[-half:]}"
    for line in caption.splitlines()
  )
