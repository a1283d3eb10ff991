"""The choice among configurations, by hand."""

import numpy as np
import pytest

from medad_jax.engine import selection

NAN = float("nan")


def measured(loss, few=None, made=None):
  shape = np.array(loss, float)
  few = np.zeros_like(shape) if few is None else np.array(few, float)
  made = np.zeros_like(shape) if made is None else np.array(made, float)
  steps = tuple(10 * (n + 1) for n in range(len(shape)))
  return selection.Measured(
    steps, {"anomalies": few, "validation_loss": shape, "synthetic": made}
  )


@pytest.mark.parametrize(
  ("losses", "wanted"),
  [
    ([5, 4, 3], (2, False)),
    ([5, 4, 4.0, 3.9995, 4], (1, False)),  # less than min_delta better
    ([5, 4, 4, 4, 4, 4, 1], (1, True)),  # the last is never reached
    ([5, 4, 4, 4, 4, 1], (5, False)),  # patience bears three without
    ([NAN, NAN], (None, False)),
    ([3, NAN, NAN, NAN, NAN], (0, True)),
  ],
)
def test_early_stopping(losses, wanted):
  assert selection.Stopping().early(list(map(float, losses))) == wanted


def test_lengths_are_the_mean_of_the_folds_rounded_down():
  one = measured(
    [[3, 3], [2, 4], [5, 2]], few=[[0.1, 0.2], [0.3, 0.4], [0.5, 0.8]]
  )
  found = selection.outcome(one, selection.Stopping(), "anomalies")
  assert found.stops == (20, 30) and found.length == 25
  assert found.values["anomalies"] == (0.3, 0.8)
  assert found.mean("anomalies") == pytest.approx(0.55)


def test_the_best_step_is_the_same_for_all_folds():
  one = measured(
    [[3, 3], [2, 4], [5, 2]], few=[[0.1, 0.2], [0.9, 0.4], [0.5, 0.7]]
  )
  best = selection.Stopping("best")
  assert selection.outcome(one, best, "anomalies").stops == (20, 20)
  assert selection.outcome(one, best, "validation_loss").stops == (10, 10)


def test_a_training_that_diverged_is_never_the_best():
  rows = [
    measured([[3, NAN]], few=[[0.9, NAN]]),
    measured([[3, 3]], few=[[0.1, 0.2]]),
    measured([[1, 1]], few=[[0.1, 0.2]]),
  ]
  stopping = selection.Stopping()
  outcomes = [selection.outcome(one, stopping, "anomalies") for one in rows]
  assert outcomes[0].length is None
  assert selection.best(outcomes, "anomalies") == 1  # the first of equal ones
  assert selection.best(outcomes, "validation_loss") == 2
  assert selection.best(outcomes[:1], "anomalies") is None
