"""The text of scores.csv."""

from collections.abc import Mapping, Sequence
import csv
import io

import numpy as np

from medad_jax.data import columns, spec
from medad_jax.engine import cells, members
from medad_jax.engine.alarms import Alarms


def write(
  test: spec.Split,
  scores: Mapping[str, np.ndarray],
  trials: members.Trials,
  alarms: Sequence[Alarms] = (),
) -> str:
  """One row an image; with several seeds a column `name@seed` for each.

  Args:
    test: the images' names, labels and columns.
    scores: by name, each [n s].
    trials: the trainings s.
    alarms: of each training; they add the columns `p_value` and `flag`, of the
      headline score.
  """

  def titled(name: str, trial: members.Trial) -> str:
    return name if len(trials) == 1 else f"{name}@{trial.seed}"

  # Nine digits give back the same float32.
  found = {
    titled(name, trial): [f"{value:.9g}" for value in values[:, s]]
    for name, values in scores.items()
    for s, trial in enumerate(trials)
  }
  # Behind the scores, so that their columns stay where they were.
  for s, alarm in enumerate(alarms):
    values = np.asarray(scores[alarm.score][:, s], float)
    p = [f"{value:.6g}" for value in alarm.p_values(values)]
    found[titled("p_value", trials[s])] = p
    found[titled("flag", trials[s])] = alarm.flags(values)
  known: dict[str, Sequence] = {
    "id": range(len(test.names)),
    "name": list(map(cells.of_path, test.names)),
    "label": [int(label) for label in test.labels],
  }
  # Names may be the same in several sets.
  if columns.groups(test.columns):
    known["set"] = test.columns[columns.SET]
  # Whoever compares runs resamples them.
  if columns.PATIENT in test.columns:
    patients = test.columns[columns.PATIENT]
    known["patient"] = list(map(cells.of_text, patients))
  text = io.StringIO(newline="")
  table = csv.writer(text)
  table.writerow([*known, *found])
  table.writerows(zip(*known.values(), *found.values(), strict=True))
  return text.getvalue()
