import io
import json
import os
import subprocess
import sys

from matplotlib import colormaps
import numpy as np
from PIL import Image
import pytest

from medad_jax.report import curves, figures
from medad_jax.scoring import bands, metrics


@pytest.fixture
def drawn(monkeypatch):
  """The figures that were saved, to look at what is in them."""
  kept = []
  png = figures.png

  def keep(figure):
    kept.append(figure)
    return png(figure)

  monkeypatch.setattr(figures, "png", keep)
  return kept


def make_row(value, size=8, channels=1, **changes):
  fields = {
    "image": np.full((size, size, channels), 100, np.uint8),
    "reconstruction": np.zeros((size, size, channels), np.float32),
    "maps": {"intra": np.full((size, size), value, np.float32)},
    "mask": None,
    "caption": "image.png\nnormal, score 0.1",
  }
  return figures.Row(**(fields | changes))


def pixels(png):
  with Image.open(io.BytesIO(png)) as image:
    return np.asarray(image.convert("RGB"))


def color(value):
  return np.round(np.array(colormaps["magma"](value)[:3]) * 255)


def share(picture, wanted):
  return np.mean(np.all(np.abs(picture - wanted) <= 2, axis=-1))


def ranked(normal, abnormal):
  labels = np.repeat([0, 1], [len(normal), len(abnormal)])
  return metrics.rank(labels, np.concatenate([normal, abnormal]))


def test_histogram_is_the_references(tmp_path, drawn):
  grid = np.arange(100) / 99
  normal, abnormal = 0.3 * grid**2, 0.2 + 0.5 * np.sqrt(grid)
  png = figures.histogram(normal, abnormal, "r_dual", ranked(normal, abnormal))
  (axes,) = drawn[0].axes
  heights = np.array([bar.get_height() for bar in axes.patches])
  assert heights.shape == (200,)
  np.testing.assert_allclose(heights.reshape(2, 100).sum(1), 100)
  assert axes.get_title() == "r_dual"
  both = metrics.min_max(np.concatenate([normal, abnormal]))
  chi2 = metrics.chi_squared(both[:100], both[100:])
  assert f"χ² = {chi2:.2f}" in axes.get_legend().get_title().get_text()
  red, green, blue, alpha = axes.patches[0].get_facecolor()
  assert blue > red
  assert alpha == 0.5
  assert png.startswith(b"\x89PNG")


def test_the_threshold_stands_where_scores_are_scaled_to(drawn):
  classes = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0])
  figures.histogram(*classes, "rec", ranked(*classes), 2.5)
  (line,) = drawn[0].axes[0].get_lines()
  assert line.get_label() == "threshold" and line.get_xdata()[0] == 0.375
  figures.histogram(*classes, "rec", ranked(*classes))
  assert not drawn[1].axes[0].get_lines()


def test_bands_lie_behind_the_curves(drawn):
  labels = np.repeat([0, 1], 20)
  scores = {"rec": np.random.default_rng(0).normal(size=40) + labels}
  both = bands.bands(labels, scores["rec"])
  figures.roc(labels, scores, {"rec": 0.8}, both[0])
  figures.precision_recall(labels, scores, {"rec": 0.8}, both[1])
  for figure in drawn:
    (area,) = figure.axes[0].collections
    assert area.get_alpha() < 0.3


def test_histogram_of_one_class(tmp_path, drawn):
  classes = np.arange(5.0), np.zeros(0)
  figures.histogram(*classes, "rec", ranked(*classes))
  (axes,) = drawn[0].axes
  assert "χ² = –" in axes.get_legend().get_title().get_text()


@pytest.mark.parametrize(
  ("draw", "metric", "curve", "order"),
  [
    (figures.roc, metrics.auroc, metrics.roc_curve, (0, 1)),
    (
      figures.precision_recall,
      metrics.average_precision,
      metrics.precision_recall_curve,
      (1, 0),
    ),
  ],
)
def test_curves_show_the_metric(tmp_path, drawn, draw, metric, curve, order):
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1], 30)
  scores = {"rec_0": rng.normal(size=60), "rec": rng.normal(size=60) + labels}
  draw(labels, scores, {k: metric(labels, v) for k, v in scores.items()})
  (axes,) = drawn[0].axes
  lines = {line.get_label().split()[0]: line for line in axes.get_lines()}
  for name, values in scores.items():
    assert lines[name].get_label() == f"{name}  {metric(labels, values):.3f}"
    found = lines[name].get_xydata().T
    wanted = [curve(labels, values)[i] for i in order]
    np.testing.assert_array_equal(found, wanted)
  assert lines["rec_0"].get_linewidth() < lines["rec"].get_linewidth()


def test_precision_is_stepped_as_it_is_summed(tmp_path, drawn):
  """The area under the drawn line is the average precision."""
  rng = np.random.default_rng(1)
  labels = np.repeat([0, 1], 20)
  values = rng.normal(size=40) + labels
  figures.precision_recall(labels, {"rec": values}, {"rec": 0.5})
  line = drawn[0].axes[0].get_lines()[-1]
  assert line.get_drawstyle() == "steps-pre"
  recall, precision = line.get_xydata().T
  area = np.sum(np.diff(recall) * precision[1:])
  assert area == pytest.approx(metrics.average_precision(labels, values))


@pytest.mark.parametrize("draw", [figures.roc, figures.precision_recall])
@pytest.mark.parametrize("labels", [np.zeros(4, int), np.zeros(0, int)])
def test_curves_of_one_class_say_so(tmp_path, drawn, draw, labels):
  draw(labels, {"rec": np.arange(len(labels)) * 1.0}, {"rec": None})
  assert "one class is missing" in drawn[0].axes[0].texts[0].get_text()


def test_gallery_has_one_scale_for_all_images(tmp_path):
  """The same value has the same color beside a bright and a dark image."""
  rows = [make_row(0.5), make_row(1.0), make_row(0.0)]
  picture = pixels(figures.gallery(rows)).astype(float)
  thirds = np.array_split(picture, 3)
  for third, value in zip(thirds, (0.5, 1.0, 0.0), strict=True):
    shares = [share(third, color(v)) for v in (0.0, 0.5, 1.0)]
    assert np.argmax(shares) == (0.0, 0.5, 1.0).index(value)
    assert max(shares) > 0.05


def test_gallery_keeps_gray_levels(tmp_path):
  """Images are never stretched to their own range."""
  picture = pixels(figures.gallery([make_row(0.5)])).astype(float)
  assert share(picture, np.full(3, 100)) > 0.05  # the input
  assert share(picture, np.full(3, 127)) > 0.05  # the reconstruction


def test_gallery_columns_follow_what_there_is(tmp_path, drawn):
  mask = np.eye(8, dtype=bool)
  figures.gallery([make_row(1.0), make_row(0, mask=mask)])
  figures.gallery([make_row(1.0, reconstruction=None)])
  titles = [[a.get_title() for a in f.axes if a.get_title()] for f in drawn]
  assert titles == [
    ["input", "reconstruction", "intra", "mask"],
    ["input", "intra"],
  ]
  captions, *others = [[t.get_text() for t in a.texts] for a in drawn[0].axes]
  assert len(captions) == 2
  assert sum(others, []) == ["not given"]


def test_gallery_of_color_images_and_flat_maps(tmp_path):
  png = figures.gallery([make_row(0.0, channels=3)] * 2)
  assert pixels(png).std() > 0


def test_gallery_shortens_long_names(tmp_path, drawn):
  long = "a" * 30 + "_" + "b" * 30 + ".png\nnormal"
  figures.gallery([make_row(1.0, caption=long)])
  first, second = drawn[0].axes[0].texts[0].get_text().split("\n")
  assert first.startswith("aaa")
  assert "…" in first
  assert first.endswith("bbb.png")
  assert len(first) == 24
  assert second == "normal"


def write_metrics(path, records):
  path.write_text("".join(json.dumps(r) + "\n" for r in records))


def test_training_curves(tmp_path, drawn):
  records = [
    {"phase": "train", "step": s, "time": 1.0, "seconds": 2.0, "loss": loss}
    for s, loss in ((8, [1.0, 2.0]), (16, [0.5, None]))
  ]
  records.append({"phase": "refine", "step": 8, "time": 1.0, "loss": -1.0})
  records[-1]["hits"] = 0.5
  write_metrics(tmp_path / "metrics.jsonl", records)
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"phase": "refine", "st')  # still being written
  curves.training_curves(tmp_path / "metrics.jsonl")
  axes = {a.get_title(): a for a in drawn[0].axes if a.get_visible()}
  assert list(axes) == ["train: loss", "refine: loss", "refine: hits"]
  one, two = axes["train: loss"].get_lines()
  np.testing.assert_array_equal(one.get_xydata(), [[8, 1.0], [16, 0.5]])
  np.testing.assert_array_equal(two.get_ydata(), [2.0, np.nan])
  assert [a.get_ylabel() for a in axes.values()] == ["loss", "loss", "hits"]
  assert {a.get_xlabel() for a in axes.values()} == {"step"}
  assert one.get_marker() == "None"  # a line of two points
  (alone,) = axes["refine: hits"].get_lines()
  assert alone.get_marker() == "o"  # one point would not be seen
  assert axes["train: loss"].get_yscale() == "log"
  assert axes["refine: loss"].get_yscale() == "linear"


def test_training_curves_of_an_empty_record(tmp_path):
  write_metrics(tmp_path / "metrics.jsonl", [])
  assert curves.training_curves(tmp_path / "metrics.jsonl")


def test_a_plane_has_a_color_for_each_kind(drawn):
  kinds = {"normal": 5, "abnormal": 4, "synthetic": 3, "nothing": 0}
  places = {k: np.arange(2.0 * n).reshape(n, 2) for k, n in kinds.items()}
  assert pixels(figures.plane(places)).std() > 0
  (axes,) = drawn[0].axes
  found = {
    dots.get_label(): tuple(dots.get_facecolor()[0])
    for dots in axes.collections
  }
  assert list(found) == ["normal (5)", "abnormal (4)", "synthetic (3)"]
  assert len(set(found.values())) == 3


@pytest.mark.parametrize(
  "backend", ["nonsense", "module://matplotlib_inline.absent"]
)
def test_a_notebooks_backend_is_not_asked_for(backend):
  """MPLBACKEND stays in the environment of commands that a notebook starts."""
  code = (
    "import os; from medad_jax.report import figures\n"
    "assert figures.plane({'normal': []})[1:4] == b'PNG'\n"
    f"assert os.environ['MPLBACKEND'] == '{backend}'"
  )
  environment = os.environ | {"MPLBACKEND": backend}
  subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize(
  "name",
  [
    b"\xc1\xf6.png".decode("utf-8", "surrogateescape"),
    "影像.png",
    "$\\frac$.png",
    "",
  ],
)
def test_any_file_name_is_a_caption(name):
  assert pixels(figures.gallery([make_row(1.0, caption=name)])).std() > 0
