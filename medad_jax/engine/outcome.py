"""The summary of a table of predictions, and its page."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from medad_jax.engine import alarms, evaluation, prediction
from medad_jax.engine import config as configuration
from medad_jax.engine.workdir import Workdir
from medad_jax.report import predicted, table

_HIGHEST, _TYPICAL = 12, 6  # images of the page
_UNREADABLE = 50  # files that the page lists


def tell(out: Path, normal: bool = False) -> str:
  """Writes report.html of a finished table, and returns the summary.

  Args:
    out: folder of the table.
    normal: whether all images are known to be normal, which tells a drift.

  Raises:
    UserError: there is no table, or the page cannot be written.
  """
  path = out / prediction.TABLE
  origin = prediction.claimed(path)
  run = Path(origin["workdir"])
  alarm = _alarm(run)
  # Scores alone are kept: an archive's table has millions of rows.
  scores, patients, flags, bad = [], [], 0, 0
  unreadable: dict[str, str] = {}
  for file, patient, score, _, flag, reason in prediction.rows(path):
    if reason:
      bad += 1
      if len(unreadable) < _UNREADABLE:
        unreadable[file] = reason
      continue
    scores.append(float(score))
    patients.append(patient)
    flags += flag == "1"
  values = np.array(scores)
  sentences = ["No threshold and no p-values: the run held out no image."]
  if alarm is not None:
    sentences = table.alarm_sentences(alarms.facts(alarm))
  sentences += table.weights_sentences(evaluation.weights_of(run))
  if normal:
    sentences.append(_drift(alarm, values, patients))
  lead = _lead(len(values), flags, bad, alarm)
  highest, typical = _shown(out, values)
  predicted.write(
    out / "report.html",
    predicted.Predicted(
      f"Predictions for {Path(origin['images']).name}",
      lead,
      sentences,
      values,
      np.zeros(0) if alarm is None else alarm.held_out,
      None if alarm is None else alarm.threshold,
      highest,
      typical,
      unreadable,
      {"run": origin["workdir"], "images": origin["images"]},
    ),
  )
  return "\n".join([lead, *sentences])


def _alarm(workdir: Path) -> alarms.Alarms | None:
  # Without the model: a merge needs no device and loads no weights.
  config = Workdir(workdir).config()
  wanted = configuration.settings_of(config).evaluation
  headline = configuration.build_method(config).score_names[-1]
  return next(iter(alarms.of_run(workdir, headline, wanted)), None)


def _lead(count: int, flags: int, bad: int, alarm) -> str:
  said = "1 image has a score"
  if count != 1:
    said = f"{count:,} images have scores"
  if alarm is not None and alarm.threshold is not None and count:
    said += f", of which {flags:,} ({flags / count:.1%}) are flagged"
  if bad:
    have = "has" if bad == 1 else "have"
    said += f"; {bad:,} {have} none, and the table says why"
  return f"{said}."


def _drift(alarm, values: np.ndarray, patients: Sequence[str]) -> str:
  if alarm is None or not len(values):
    return "Drift cannot be told: there are no scores, or no held-out ones."
  known = _numbers(patients) if any(patients) else None
  p = alarm.drift(values, known)
  if p < table.DRIFT:
    # Only retraining helps: a new threshold alone would hide what has changed.
    return (
      f"DRIFT: these normal images score otherwise than the held-out ones"
      f" (p = {p:.2g}); the threshold may not hold for them, so train again"
      " with images like these."
    )
  return (
    "No drift is seen: these normal images score like the held-out ones"
    f" (p = {p:.2g})."
  )


def _numbers(patients: Sequence[str]) -> np.ndarray:
  """A number of each image's patient; of an unknown one, its own."""
  texts = [name or f"#{row}" for row, name in enumerate(patients)]
  return np.unique(texts, return_inverse=True)[1]


def _shown(out: Path, values: np.ndarray):
  """Rows of the page: the highest scores, and some in the middle."""
  order = np.argsort(-values, kind="stable")
  # Usual images beside the highest show whether the marks mean anything.
  middle = order[len(order) // 2 :][:_TYPICAL]
  highest = order[:_HIGHEST]
  # A second pass over the table, as its rows were not kept.
  wanted = {int(n) for n in (*highest, *middle)}
  found = dict(_rows(out, wanted))
  rest = [n for n in middle if n not in set(highest)]
  return [found[n] for n in highest], [found[n] for n in rest]


def _rows(out: Path, wanted: set[int]) -> Iterator[tuple[int, predicted.Row]]:
  """Yields the scored rows of the table with some numbers."""
  scored = (r for r in prediction.rows(out / prediction.TABLE) if not r[-1])
  for number, row in enumerate(scored):
    if number in wanted:
      file, patient, score, p_value, flag, _ = row
      overlay = out / prediction.OVERLAYS / f"{file}.png"
      yield (
        number,
        predicted.Row(file, patient, float(score), p_value, flag, overlay),
      )
