import base64
from html.parser import HTMLParser
import re

import numpy as np
import pytest

from medad_jax.report import page, table
from medad_jax.scoring import metrics, spread

VOID = {"meta", "img"}


class Reader(HTMLParser):
  """Checks that tags nest, and keeps texts and attributes."""

  def __init__(self, text):
    super().__init__()
    self.open, self.tags, self.texts = [], [], []
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.texts.append(data)


def description(devices):
  return {
    "time": "2026-01-01T00:00:00Z",
    "versions": {"jax": "0.10.2"},
    "commit": None,
    "devices": devices,
    "processes": 1,
    "meshes": {},
    "precision": "float32",
  }


def make_results(scores, labels):
  first = next(iter(scores))
  return {
    "dataset": "brain <mri>",
    "method": "ddad",
    "config": {"seed": 3, "train": {"epochs": 250}},
    "seed": 3,
    "seeds": 1,
    "weights": {},
    "members": 6,
    "data": {"fingerprint": "abc123", "counts": {"train": 1000, "test": 80}},
    "training": [description(["H100"] * 2)],
    "evaluation": description(["cpu"]),
    "seconds": {"train": 65.0, "refine": 7300.0},
    "scores": {k: metrics.summarize(labels, v) for k, v in scores.items()},
    "comparisons": [
      {"a": first, "b": other} | metrics.compare(labels, scores[first], values)
      for other, values in scores.items()
      if other != first
    ],
  }


@pytest.fixture
def results():
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1], 40)
  noise = rng.normal(size=(2, 80))
  scores = {"rec": noise[0] + labels, "r_dual": noise[1] + 2 * labels}
  return make_results(scores, labels)


def written(tmp_path, results, figures=()):
  page.write(tmp_path / "report.html", results, figures)
  return (tmp_path / "report.html").read_text()


def test_page_holds_every_number(tmp_path, results):
  text = " ".join(Reader(written(tmp_path, results)).texts)
  for score in results["scores"].values():
    low, high = score["auroc_ci"]
    assert f"{score['auroc']:.3f} [{low:.3f}, {high:.3f}]" in text
    low, high = score["ap_ci"]
    assert f"{score['ap']:.3f} [{low:.3f}, {high:.3f}]" in text
    assert f"{score['chi2']:.2f}" in text
    assert f"{score['chi2_corrected']:.2f}" in text
  difference = results["comparisons"][0]["auroc_difference"]
  assert f"{difference:+.3f} [" in text
  for said in ("40 normal and 40 abnormal", "abc123", "1 min 5 s", "2 h 1 min"):
    assert said in text
  for said in ("train.epochs", "250", "2 x H100", "0.10.2", "seed 3"):
    assert said in text


def test_page_needs_nothing_else(tmp_path, results):
  figures = [tmp_path / "roc.png", tmp_path / "histogram_rec.png"]
  for figure in figures:
    figure.write_bytes(figure.name.encode())
  text = written(tmp_path, results, figures)
  tags = Reader(text).tags
  assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
  assert "http" not in text
  assert "url(" not in text
  sources = [attrs["src"] for tag, attrs in tags if tag == "img"]
  start = "data:image/png;base64,"
  assert [base64.b64decode(s.removeprefix(start)) for s in sources] == [
    f.name.encode() for f in figures
  ]
  assert all(attrs["alt"] for tag, attrs in tags if tag == "img")


def test_every_figure_has_its_caption(tmp_path, results):
  names = ["gallery", "roc", "precision_recall", "histogram_r_dual", "training"]
  figures = [tmp_path / f"{name}.png" for name in names]
  for figure in figures:
    figure.write_bytes(b"")
  text = written(tmp_path, results, figures)
  captions = re.findall("<figcaption>(.*?)</figcaption>", text)
  assert len(set(captions)) == len(names)
  assert "color scale" in captions[0]
  assert all(captions)


def test_text_is_escaped(tmp_path, results):
  text = written(tmp_path, results)
  assert "brain &lt;mri&gt;" in text
  assert "<mri>" not in text


def test_intervals_are_drawn_where_they_are(tmp_path, results):
  text = written(tmp_path, results)
  score = results["scores"]["r_dual"]
  # The axis starts at 0.5.
  lefts = [200 * (v - 0.5) for v in (score["auroc_ci"][0], score["auroc"])]
  for left in lefts:
    assert f"left:{round(left, 2)}%" in text
  worse = results | {"scores": {"rec": score | {"auroc_ci": [0.4, 0.9]}}}
  assert "left:40.0%;width:50.00%" in written(tmp_path, worse)


def test_undefined_is_said_and_not_drawn(tmp_path):
  labels = np.zeros(5, int)
  scores = {"rec": np.arange(5.0), "inter": np.arange(5.0)}
  results = make_results(scores, labels)
  text = written(tmp_path, results)
  assert "One class is missing" in text
  assert "None" not in text
  assert "nan" not in text
  text = table.results_table(results)
  assert re.search(r"^rec +- +- +-$", text, re.MULTILINE)


def test_perfect_score_has_no_interval_of_precision(tmp_path):
  labels = np.repeat([0, 1], 5)
  text = written(tmp_path, make_results({"rec": labels * 1.0}, labels))
  assert "An average precision of 1 has no interval" in text
  assert "one score only" in text


def test_results_table_is_aligned(results):
  lines = table.results_table(results).splitlines()
  assert lines[0].startswith("ddad on brain <mri>, 40 normal and 40 abnormal")
  header, rule, *rows = lines[2:]
  assert {len(row) for row in rows} == {len(header)} == {len(rule)}
  for row, (name, score) in zip(rows, results["scores"].items(), strict=True):
    assert row.startswith(name)
    assert row[header.index("AUROC") :].startswith(f"{score['auroc']:.3f} [")
    assert row[header.index("AP ") :].startswith(f"{score['ap']:.3f} [")
    assert row.endswith(f" {score['chi2']:.2f}")


def over_seeds(results, pixel=None):
  """Three trainings with nearly the results of one."""
  scores = {
    name: spread.over_seeds(
      [
        score | (pixel or {}) | {"auroc": score["auroc"] - d}
        for d in (0, 0.1, 0.2)
      ]
    )
    for name, score in results["scores"].items()
  }
  return results | {"scores": scores, "seeds": 3, "comparisons": []}


def test_several_seeds_show_their_spread(tmp_path, results):
  several = over_seeds(results)
  mean = results["scores"]["r_dual"]["auroc"] - 0.1
  shown = f"{mean:.3f} ± 0.100"
  assert shown in table.results_table(several)
  text = written(tmp_path, several)
  assert shown in text
  assert "of 3 trainings" in text
  assert "DeLong" not in text


def test_pixels_have_a_table_of_their_own(tmp_path, results):
  pixel = {
    "pixel_auroc": 0.912,
    "pixel_ap": 0.345,
    "aupro": None,
    "oracle_dice": 0.421,
    "oracle_dice_threshold": 0.1,
    "n_pixels": 100,
    "n_positive": 7,
  }
  scores = {k: v | pixel for k, v in results["scores"].items()}
  both = results | {"scores": scores}
  *_, last = table.results_table(both).splitlines()
  assert last.split() == ["r_dual", "0.912", "0.345", "-", "0.421"]
  text = written(tmp_path, both)
  assert "0.421" in text and "ceiling" in text
  assert "0.421 ± 0.000" in table.results_table(over_seeds(results, pixel))


def test_other_weights_are_said_everywhere(tmp_path, results):
  other = results | {"weights": {"vgg19": "random", "resnet18": "official"}}
  for text in (written(tmp_path, other), table.results_table(other)):
    assert "official" in text and "vgg19 random" in text
    assert "resnet18 official," not in text
