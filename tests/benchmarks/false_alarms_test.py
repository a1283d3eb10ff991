"""The benchmark of false alarms on a run's own files."""

import numpy as np
import pytest

from benchmarks import false_alarms
from medad_jax.report import results
from medad_jax.scoring import metrics
from medad_jax.types import UserError

ROWS = "id,name,label,rec,p_value,flag"


def run(folder, scores, labels):
  """A run's folder with what the benchmark reads."""
  lines = [
    f"{row},{row}.png,{label},{score:.9g},0.5,0"
    for row, (score, label) in enumerate(zip(scores, labels, strict=True))
  ]
  folder.mkdir()
  (folder / "scores.csv").write_text("\n".join([ROWS, *lines]))
  score = results.Score(metrics.rank(labels, scores))
  main = results.TestSet({"rec": score})
  empty = ("mine", "ae", {}, 0, 1, 1, {}, (), {}, {}, {})
  results.Results(*empty, main).save(folder / "results.json")
  return folder


@pytest.fixture
def drawn():
  """Scores of 200 normal and 20 abnormal images."""
  labels = np.repeat([0, 1], [200, 20])
  return np.random.RandomState(0).normal(size=220) + 3 * labels, labels


def test_the_headline_of_normal_images_is_read(drawn, tmp_path):
  scores, labels = drawn
  found = false_alarms.normal_scores(run(tmp_path / "a", scores, labels))
  # Not the columns behind it, of runs that held images out.
  np.testing.assert_allclose(found, scores[:200])


def test_the_promise_is_kept_and_drawn(drawn, tmp_path, capsys):
  folder = run(tmp_path / "a", *drawn)
  picture = tmp_path / "a.png"
  args = [str(folder), "--splits=50", f"--picture={picture}"]
  assert false_alarms.main(args) == 0
  assert (
    capsys.readouterr().out.count("kept") == 5
  )  # 40 are too few for 5 % sure
  assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_broken_promise_is_told():
  rates = false_alarms.Rates("a", 0.05, None, np.full(200, 0.06))
  assert not rates.kept
  sure = rates._replace(confidence=0.9)
  assert not sure.kept
  assert rates._replace(observed=np.full(200, 0.04)).kept


def test_a_run_that_was_not_evaluated_is_one_sentence(tmp_path):
  with pytest.raises(UserError, match="results.json"):
    false_alarms.normal_scores(tmp_path)
