"""Differences of runs seed by seed, by hand."""

import dataclasses

import numpy as np
import pytest

from configs import _tables
from medad_jax.report import paired, results
from medad_jax.scoring import metrics
from medad_jax.scoring.over_seeds import Spread

NOTHING = metrics.rank(np.array([0, 1]), np.array([0.0, 1.0]))


def measured(*values):
  """A test set with one score, of these AUROC."""
  ranking = dataclasses.replace(NOTHING, auroc=values[0])
  spread = {"auroc": Spread(None, None, values)} if len(values) > 1 else {}
  score = results.Score(ranking, over_seeds=spread)
  return results.TestSet({"first": results.Score(NOTHING), "last": score})


def run(main, **sets):
  empty = ("set", "ae", {}, 0, 3, 1, {}, (), {}, {}, {})
  return results.Results(*empty, main, sets)


FOUND = {
  "joint": run(
    measured(0.6, 0.7, 0.65),
    a=measured(0.5, 0.6, 0.7),
    b=measured(0.5, 0.5, None),
  ),
  "plain": run(
    measured(0.5, 0.7, 0.6),
    a=measured(0.5, 0.6, 0.7),
    b=measured(0.5, 0.5, 0.5),
  ),
  "alone": run(measured(0.4, 0.6, 0.8)),
  "once": run(measured(0.5)),
  "again": run(measured(0.75)),
}


def test_sets_are_compared_one_by_one():
  # A set without AUROC is left out; one that nothing happened to is not.
  whole, a = paired.gaps([paired.Pair("joint", "plain")], FOUND)
  gaps = np.array([0.1, 0.0, 0.05])
  half = 4.302652730 * gaps.std(ddof=1) / np.sqrt(3)  # Student's t, 2 degrees
  wanted = (0.05, 0.05 - half, 0.05 + half)
  assert (whole.mean, whole.low, whole.high) == pytest.approx(wanted)
  assert (a.part, a.mean, a.low, a.high) == ("a", 0, 0, 0)
  said = paired.sentences([whole, a])
  assert "joint minus that of plain +0.050 [-0.074, +0.174]" in said[0]
  assert said[1].startswith("a: ") and "+0.000 [+0.000, +0.000]" in said[1]
  header, first, _ = paired.csv_text([whole, a]).splitlines()
  assert header == "run,other,part,mean,low,high,seeds"
  assert first.startswith("joint,plain,,0.05")


def test_a_set_is_compared_with_its_own_model():
  (found,) = paired.gaps([paired.Pair("joint", "alone", "a")], FOUND)
  assert (found.part, found.seeds) == ("a", 3)
  assert found.mean == pytest.approx(0)


def test_one_seed_has_no_interval_and_a_failed_run_no_difference():
  (found,) = paired.gaps([paired.Pair("again", "once")], FOUND)
  assert (found.mean, found.low, found.seeds) == (0.25, None, 1)
  assert "[" not in paired.sentences([found])[0]
  assert paired.gaps([paired.Pair("joint", "failed")], FOUND) == []


def test_a_table_compares_runs_that_it_has():
  runs = {f"{row.group} {row.title}" for row in _tables.rows("maddr")}
  found = _tables.differences("maddr")
  assert {x.run for x in found} | {x.other for x in found} == runs
  assert _tables.differences("dpa/cifar10") == []
