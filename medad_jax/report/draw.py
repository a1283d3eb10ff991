"""The pictures and the page of a run, from what its evaluation found."""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
from pathlib import Path

from jaxtyping import Float
import numpy as np

from medad_jax import files
from medad_jax.report import curves, figures, page
from medad_jax.report.results import Results
from medad_jax.scoring import bands, embedding, metrics

Row = figures.Row

_QUANTILES = (0.0, 1 / 3, 2 / 3, 1.0)  # of each class's scores, for the gallery
_WORST = 4  # images of a class
_MOST = 200  # latents of a kind on the plane; more take seconds to embed


@dataclasses.dataclass(frozen=True)
class Shown:
  """Contents of the figures of a test set, all from the first training.

  Attributes:
    labels: 0 normal, 1 abnormal.
    scores: of every image, by name, the headline last.
    rankings: metrics of these scores, by name.
    gallery: images from the lowest to the highest score of each class.
    worst: normal images of the highest scores, abnormal ones of the lowest.
    latents: codes of "normal", "abnormal" and, where the method makes any,
      "synthetic" images, each [n d]; empty where the method has no codes.
  """

  labels: metrics.Labels
  scores: Mapping[str, Float[np.ndarray, "n"]]
  rankings: Mapping[str, metrics.Ranking]
  gallery: Sequence[Row]
  worst: Sequence[Row]
  latents: Mapping[str, Float[np.ndarray, "_ _"]]


def draw(folder: Path, results: Results, shown: Shown, record: Path) -> None:
  """Writes `figures/` and `report.html`.

  Args:
    folder: where they go.
    results: what results.json holds.
    shown: of the main test set.
    record: the run's metrics.jsonl; there may be none.

  Raises:
    UserError: they cannot be written; a page that was there stays.
  """
  files.make_folder(folder / "figures")
  drawn = []
  for name, picture in _pictures(shown, results, record):
    drawn.append(folder / "figures" / f"{name}.png")
    files.write(drawn[-1], picture)
  page.write(folder / "report.html", results, drawn)


def gallery_rows(
  labels: metrics.Labels, scores: Float[np.ndarray, "n"]
) -> list[int]:
  """Rows from the lowest to the highest score of each class, not selected."""
  rows: list[int] = []
  for label in (0, 1):
    members = np.flatnonzero(labels == label)
    if len(members):
      order = members[np.argsort(scores[members], kind="stable")]
      at = {round(q * (len(order) - 1)) for q in _QUANTILES}
      rows += [int(order[i]) for i in sorted(at)]
  return rows


def worst_rows(
  labels: metrics.Labels, scores: Float[np.ndarray, "n"]
) -> list[int]:
  """Rows of the normal images of the highest and abnormal of lowest scores."""
  order = np.argsort(scores, kind="stable")
  high = [int(row) for row in order[::-1] if labels[row] == 0]
  low = [int(row) for row in order if labels[row] == 1]
  return high[:_WORST] + low[:_WORST]


def _pictures(
  shown: Shown, results: Results, record: Path
) -> Iterator[tuple[str, bytes]]:
  """Names and PNG files, in the order of the page."""
  yield "gallery", figures.gallery(shown.gallery)
  yield "worst", figures.gallery(shown.worst)
  *_, headline = shown.scores.values()
  both = bands.bands(shown.labels, headline) or (None, None)
  areas = {name: found.auroc for name, found in shown.rankings.items()}
  yield "roc", figures.roc(shown.labels, shown.scores, areas, both[0])
  areas = {name: found.ap for name, found in shown.rankings.items()}
  yield (
    "precision_recall",
    figures.precision_recall(shown.labels, shown.scores, areas, both[1]),
  )
  if (places := _plane(shown.latents)) is not None:
    yield "latents", figures.plane(places)
  for name, values in reversed(list(shown.scores.items())):
    classes = metrics.split(shown.labels, values)
    # Of the headline alone; "score" names it.
    of_this = results.operating.get("score") == name
    limit = results.operating.get("threshold") if of_this else None
    picture = figures.histogram(*classes, name, shown.rankings[name], limit)
    yield f"histogram_{name}", picture
  # Empty where nothing was trained by steps.
  if record.exists() and record.stat().st_size:
    yield "training", curves.training_curves(record)


def _plane(
  latents: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray] | None:
  """Points on one plane for some latents of each kind; None without latents."""
  if not latents:
    return None
  some = {
    kind: values[np.linspace(0, len(values) - 1, _MOST).astype(int)]
    if len(values) > _MOST
    else values
    for kind, values in latents.items()
  }
  places = embedding.tsne(np.concatenate(list(some.values())))
  if places is None:
    return None
  cuts = np.cumsum([len(values) for values in some.values()])[:-1]
  return dict(zip(some, np.split(places, cuts), strict=True))
