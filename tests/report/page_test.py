import base64
import dataclasses
import errno
from html.parser import HTMLParser
import os
from pathlib import Path
import re

import numpy as np
import pytest

from medad_jax.report import page, table
from medad_jax.report.results import Comparison, Results, Score, TestSet
from medad_jax.scoring import metrics, pixel_metrics
from medad_jax.scoring import over_seeds as seeds
from medad_jax.types import UserError

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


def environment(kind, version):
  return {
    "time": "2026-01-02T03:04:05Z",
    "versions": {"jax": version},
    "commit": "c0ffee",
    "devices": [kind] * 2,
    "processes": 1,
    "meshes": {},
    "precision": "float32",
  }


def make_results(scores, labels):
  first = next(iter(scores))
  return Results(
    dataset="brain <mri>",
    method="ddad",
    config={"seed": 3, "train": {"epochs": 250}},
    seed=3,
    seeds=1,
    weights={},
    members=6,
    data={"fingerprint": "abc123", "counts": {"train": 1000, "test": 80}},
    trained=(environment("NVIDIA H100", "0.10.1"),),
    evaluated=environment("cpu", "0.10.2"),
    seconds={"train": 65.0, "refine": 7300.0},
    main=TestSet(
      {k: Score(metrics.rank(labels, v)) for k, v in scores.items()},
      tuple(
        Comparison(
          first,
          other,
          *(metrics.compare(labels, scores[first], v) or [None] * 3),
        )
        for other, v in scores.items()
        if other != first
      ),
    ),
  )


def with_scores(results, scores):
  main = dataclasses.replace(results.main, scores=scores)
  return dataclasses.replace(results, main=main)


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
  for score in results.main.scores.values():
    found = score.ranking
    low, high = found.auroc_ci
    assert f"{found.auroc:.3f} [{low:.3f}, {high:.3f}]" in text
    low, high = found.ap_ci
    assert f"{found.ap:.3f} [{low:.3f}, {high:.3f}]" in text
    assert f"{found.chi2:.2f}" in text
    assert f"{found.chi2_corrected:.2f}" in text
  difference = results.main.comparisons[0].auroc_difference
  assert f"{difference:+.3f} [" in text
  for said in ("40 normal and 40 abnormal", "abc123", "1 min 5 s", "2 h 1 min"):
    assert said in text
  for said in ("train.epochs", "250", "seed 3"):
    assert said in text


def test_training_and_evaluation_are_told_apart(tmp_path, results):
  """A run trained on one machine and evaluated on another."""
  text = written(tmp_path, results)
  first, second = (
    text.index(said) for said in ("2 × NVIDIA H100", "2 × cpu; float32; jax")
  )
  assert text.index("trained on") < first < text.index("evaluated on") < second
  again = (*results.trained, environment("TPU v5", "0.10.2"))
  text = written(tmp_path, dataclasses.replace(results, trained=again))
  assert "trained on (start 2)" in text and "2 × TPU v5" in text


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
  names = ["gallery", "roc", "precision_recall", "latents", "histogram_r_dual"]
  names.append("training")
  figures = [tmp_path / f"{name}.png" for name in names]
  for figure in figures:
    figure.write_bytes(b"")
  text = written(tmp_path, results, figures)
  captions = re.findall("<figcaption>(.*?)</figcaption>", text)
  assert len(set(captions)) == len(names)
  assert "color scale" in captions[0]
  assert all(captions)
  alternatives = [a["alt"] for tag, a in Reader(text).tags if tag == "img"]
  assert len(set(alternatives)) == len(names)
  for alternative, name in zip(alternatives, names, strict=True):
    assert len(alternative.split()) > 3 and alternative != name
  assert "rec, r_dual" in alternatives[1]  # the curves
  assert "the score r_dual" in alternatives[4]  # a histogram


def test_headings_of_a_checklist_are_filled_from_the_records(tmp_path, results):
  operating = {
    "score": "r_dual",
    "threshold": 1.5,
    "refused": "",
    "false_alarms": 0.05,
    "confidence": None,
    "n_held_out": 40,
    "n_held_out_patients": None,
    "groups": {"sex": {}},
  }
  text = written(tmp_path, dataclasses.replace(results, operating=operating))
  assert "This is research software and not a medical device." in text
  rows = dict(re.findall('<th scope="row">(.*?)</th><td>(.*?)</td>', text))
  assert rows["Data partitions"].startswith("Images: train 1,000, test 80.")
  assert "epochs 250" in rows["Training"]
  assert (
    "r_dual above 1.5 are flagged. The threshold is from 40 "
    in rows["Threshold"]
  )
  assert rows["Subgroups"] == "By sex."
  assert "c0ffee" in rows["Registration, code and data"]
  assert rows["held out for the threshold"] == "40 normal images"
  # What no record has is the authors' to write, and not made up.
  for name in ("Study design and goal", "Reference standard", "Limitations"):
    assert "Not in the run's records" in rows[name].replace("&#x27;", "'")


def test_values_name_their_columns_where_rows_are_lists(tmp_path, results):
  cells = [a for t, a in Reader(written(tmp_path, results)).tags if t == "td"]
  named = {attrs["data-of"] for attrs in cells if "data-of" in attrs}
  assert {"AUROC [95 % CI]", "FPR at 95 % sensitivity", "p"} <= named
  assert all("<" not in name for name in named)


def test_the_page_can_be_heard(tmp_path, results):
  """Landmarks, headers with their scope, captions: for screen readers."""
  text = written(tmp_path, results)
  tags = Reader(text).tags
  assert [tag for tag, _ in tags].count("main") == 1
  assert text.index("<main>") < text.index("<h1>")
  headers = [attrs for tag, attrs in tags if tag == "th"]
  assert {attrs.get("scope") for attrs in headers} == {"row", "col"}
  captions = re.findall("<table[^>]*><caption>(.*?)</caption>", text)
  assert len(captions) == text.count("<table") == len(set(captions))
  # The interval is drawn beside its numbers, and not read out.
  bars = [a for tag, a in tags if tag == "span" and a.get("class") == "axis"]
  assert bars and all(attrs["aria-hidden"] == "true" for attrs in bars)


def test_patients_are_spoken_of_below_the_table(tmp_path, results):
  text = written(tmp_path, results)
  table_end = text.index("</table>")
  said = text.index("with several images of a patient they are too narrow")
  assert table_end < said < text.index("Differences between scores")
  assert table.INDEPENDENT in table.results_table(results)


def test_page_and_table_say_where_patients_were_resampled(tmp_path, results):
  labels, whose = np.repeat([0, 1], 20), np.arange(40) // 4
  values = np.random.default_rng(1).normal(size=40) + labels
  further = TestSet({"rec": Score(metrics.rank(labels, values, whose))})
  results = dataclasses.replace(results, sets={"far": further})
  text = written(tmp_path, results)
  captions = re.findall("<table[^>]*><caption>(.*?)</caption>", text)
  assert len(captions) == len(set(captions))
  said = "Intervals take 10 patients as independent"
  assert said in text and said in table.results_table(results)
  # The main test set's are still of images.
  assert table.INDEPENDENT in text
  assert "Differences are paired by image (DeLong)" in text
  results = dataclasses.replace(results, main=further, sets={})
  text = written(tmp_path, results)
  assert table.INDEPENDENT not in text and "DeLong" not in text
  assert said in text


def test_a_page_that_cannot_be_written_leaves_the_old_one(
  tmp_path, results, monkeypatch
):
  before = written(tmp_path, results)

  def full(self, target):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(Path, "replace", full)
  with pytest.raises(UserError, match="report.html .*No space left"):
    written(tmp_path, results)
  assert (tmp_path / "report.html").read_text() == before
  assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_further_sets_stand_beside_the_main_one(tmp_path, results):
  other = dataclasses.replace(results, sets={"external": results.main})
  text = " ".join(Reader(written(tmp_path, other)).texts)
  assert "Test set external, 40 normal and 40 abnormal" in text
  assert "test set external, 40 normal" in table.results_table(other)


def test_text_is_escaped(tmp_path, results):
  text = written(tmp_path, results)
  assert "brain &lt;mri&gt;" in text
  assert "<mri>" not in text


def test_intervals_are_drawn_where_they_are(tmp_path, results):
  text = written(tmp_path, results)
  score = results.main.scores["r_dual"]
  found = score.ranking
  # The axis starts at 0.5.
  lefts = [200 * (v - 0.5) for v in (found.auroc_ci[0], found.auroc)]
  for left in lefts:
    assert f"left:{round(left, 2)}%" in text
  ranking = dataclasses.replace(found, auroc_ci=(0.4, 0.9))
  worse = with_scores(results, {"rec": Score(ranking)})
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
  assert re.search(r"^rec( +-){5}$", text, re.MULTILINE)


def test_perfect_score_has_no_interval_of_precision(tmp_path):
  labels = np.repeat([0, 1], 5)
  text = written(tmp_path, make_results({"rec": labels * 1.0}, labels))
  assert "An average precision of 1 has no interval" in text
  assert "one score only" in text


def test_results_table_is_aligned(results):
  lines = table.results_table(results).splitlines()
  assert lines[0].startswith("ddad on brain <mri>, 40 normal and 40 abnormal")
  header, rule, *rows = lines[2:]
  *rows, empty, said = rows
  assert empty == "" and said == f"{table.INDEPENDENT}."
  assert {len(row) for row in rows} == {len(header)} == {len(rule)}
  scores = results.main.scores.items()
  for row, (name, score) in zip(rows, scores, strict=True):
    found = score.ranking
    assert row.startswith(name)
    assert row[header.index("AUROC") :].startswith(f"{found.auroc:.3f} [")
    assert row[header.index("AP ") :].startswith(f"{found.ap:.3f} [")
    assert row.endswith(f" {found.chi2:.2f}")


def over_seeds(results):
  """Three trainings with nearly the results of one."""
  scores = {}
  for name, score in results.main.scores.items():
    rankings = [
      dataclasses.replace(score.ranking, auroc=score.ranking.auroc - d)
      for d in (0, 0.1, 0.2)
    ]
    ranking, spread = seeds.over_seeds(rankings)
    if score.pixels is not None:
      spread |= seeds.over_seeds([score.pixels] * 3)[1]
    scores[name] = Score(ranking, score.pixels, spread)
  main = TestSet(scores)
  return dataclasses.replace(results, main=main, seeds=3)


def test_several_seeds_show_their_spread(tmp_path, results):
  several = over_seeds(results)
  mean = results.main.scores["r_dual"].ranking.auroc - 0.1
  shown = f"{mean:.3f} ± 0.100"
  assert shown in table.results_table(several)
  text = written(tmp_path, several)
  assert shown in text
  assert "of 3 trainings" in text
  # Their means have intervals, too, which know nothing of other trainings.
  score = several.main.scores["r_dual"]
  ranking = dataclasses.replace(score.ranking, auroc_ci=(0.61, 0.79))
  held = {"r_dual": dataclasses.replace(score, ranking=ranking)}
  text = written(tmp_path, with_scores(several, held))
  assert f"{shown} [0.610, 0.790]" in text
  assert "hold these trainings fixed" in text and "Newcombe" in text


def test_pixels_have_a_table_of_their_own(tmp_path, results):
  pixel = pixel_metrics.Pixels(
    pixel_auroc=0.912,
    pixel_ap=0.345,
    aupro=None,
    oracle_dice=0.421,
    oracle_dice_threshold=0.1,
    n_pixels=100,
    n_positive=7,
  )
  scores = results.main.scores.items()
  both = with_scores(
    results, {k: dataclasses.replace(v, pixels=pixel) for k, v in scores}
  )
  *_, last, _, _ = table.results_table(both).splitlines()
  assert last.split() == ["r_dual", "0.912", "0.345", "-", "0.421"]
  text = written(tmp_path, both)
  assert "0.421" in text and "ceiling" in text
  assert "0.421 ± 0.000" in table.results_table(over_seeds(both))


def test_other_weights_are_said_everywhere(tmp_path, results):
  weights = {"vgg19": "random", "resnet18": "official"}
  other = dataclasses.replace(results, weights=weights)
  for text in (written(tmp_path, other), table.results_table(other)):
    assert "official" in text and "vgg19 random" in text
    assert "resnet18 official," not in text


def test_page_shows_the_threshold_and_groups(tmp_path, results):
  rate = {"value": 0.5, "ci": (0.25, 0.75)}
  both = {"sensitivity": rate, "specificity": rate}
  found = {
    "sensitivity_at_specificity": {"0.95": rate},
    **{"score": "rec", "threshold": 2.5, "false_alarms": 0.05},
    **{"confidence": 0.95, "n_held_out": 70, "n_held_out_patients": 60},
    **both,
    "groups": {"sex": {"f<": {**both, "n_normal": 3, "n_abnormal": 4}}},
  }
  text = written(tmp_path, dataclasses.replace(results, operating=found))
  said = " ".join(Reader(text).texts)
  assert (
    "Images with rec above 2.5 are flagged. The threshold is from 70" in said
  )
  assert (
    "of 60 patients and allows at most 5.0% false alarms with 95% con" in said
  )
  assert "At the threshold, by sex" in said and "f<" in said
  assert "0.500 [0.250, 0.750]" in said and "95%" in said
