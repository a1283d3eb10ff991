"""Two runs on the same images: the difference of their headlines."""

import csv

import numpy as np
import pytest

from medad_jax.engine import compared
from medad_jax.report import results
from medad_jax.scoring import metrics


@pytest.fixture
def values():
  """Labels, patients and two scores of 40 images of 10 patients."""
  rng = np.random.default_rng(0)
  whose = np.repeat(np.arange(10), 4)
  labels = whose % 2
  shared = rng.normal(size=10)[whose]
  first = labels + shared + 0.2 * rng.normal(size=40)
  return labels, whose, first, first + rng.normal(size=40)


def run(folder, labels, scores, patients=None):
  """A run's folder as `compared` has it, of one training."""
  folder.mkdir()
  titles = ["id", "name", "label", *(["patient"] if patients else []), "rec"]
  with (folder / "scores.csv").open("w", newline="") as file:
    out = csv.writer(file)
    out.writerow(titles)
    for row, (label, score) in enumerate(zip(labels, scores, strict=True)):
      own = [patients[row]] if patients else []
      out.writerow([row, f"{row}.png", label, *own, score])
  # Only the names of its scores are asked for.
  score = results.Score(metrics.rank(labels, np.asarray(scores, float)))
  main = results.TestSet({"rec": score})
  empty = ("mine", "ae", {}, 0, 1, 1, {}, (), {}, {}, {})
  return [(results.Results(*empty, main), folder)]


def test_runs_are_paired_by_patient_where_patients_are_known(values, tmp_path):
  labels, whose, first, second = values
  names = [f"p{number}" for number in whose]
  runs = [
    run(tmp_path / name, labels, scores, names)
    for name, scores in (("a", first), ("b", second))
  ]
  [pair] = compared._pair(*runs)
  assert (pair.one, pair.other, pair.by) == ("a (rec)", "b (rec)", "patient")
  wanted = metrics.compare(labels, first, second, whose)
  assert (pair.difference, pair.interval) == (wanted.value, wanted.interval)


def test_and_else_by_image(values, tmp_path):
  labels, _, first, second = values
  runs = [
    run(tmp_path / name, labels, scores)
    for name, scores in (("a", first), ("b", second))
  ]
  [pair] = compared._pair(*runs)
  assert pair.by == "image"
  wanted = metrics.compare(labels, first, second)
  np.testing.assert_allclose(pair.interval, wanted.interval)
  # Other images are not compared.
  assert not [
    *compared._pair(runs[0], run(tmp_path / "c", labels[1:], first[1:]))
  ]
