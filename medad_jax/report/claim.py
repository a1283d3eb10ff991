"""Headings of the CLAIM checklist, filled from a run's own records.

Mongan, Moy and Kahn, "Checklist for Artificial Intelligence in Medical Imaging
(CLAIM)", Radiology: AI 2020, updated in 2024. Only what the run knows is filled
in; the rest is said to be the authors'.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from medad_jax.report import table
from medad_jax.report.results import Results

Rows = Iterator[tuple[str, str]]
_ENDS = {
  "last": "The last state.",
  "average": "The mean of the states of the training's second half.",
}
_ABSENT = "Not in the run's records; to be written by the authors: "


def rows(results: Results) -> Rows:
  """Yields headings and what the run knows of each."""
  yield (
    "Study design and goal",
    (
      _ABSENT
      + "the study's design, its goal, and where the model would be used."
    ),
  )
  yield from _data(results)
  yield from _model(results)
  yield from _evaluation(results)
  yield (
    "Limitations",
    (
      "Those under “How to read these numbers”. "
      + _ABSENT
      + "bias of the images,"
      " and whether the results carry over to other places."
    ),
  )
  yield (
    "Registration, code and data",
    (
      f"Commit {results.evaluated['commit'] or 'unknown'}. "
      + _ABSENT
      + "registration, funding, and access to the data."
    ),
  )


def _data(results: Results) -> Rows:
  data = results.config.get("data", {})
  yield (
    "Data sources",
    (
      f"Data set {results.dataset}, fingerprint"
      f" {results.data['fingerprint'][:16]}…. "
      + _ABSENT
      + "where, when and how the images were taken, and who was included."
    ),
  )
  yield (
    "Data preparation",
    "; ".join(
      f"{name} {data[key]}"
      for name, key in (
        ("steps", "preparation"),
        ("pixels a side", "image_size"),
        ("channels", "channels"),
        ("views in training", "augment"),
      )
      if data.get(key)
    )
    + ". ",
  )
  counts = ", ".join(f"{k} {v:,}" for k, v in results.data["counts"].items())
  share = results.config.get("validation", {}).get("share", 0)
  apart = (
    f"; {share:.0%} of the normal training images were held out"
    if share
    else ""
  )
  patients = table.patients(results.main)
  known = (
    "Patients are not known, so that images of one may be on both sides"
    if patients is None
    else f"The test images are of {patients:,} patients"
  )
  yield "Data partitions", f"Images: {counts}{apart}. {known}."
  yield (
    "Reference standard",
    (
      "Labels of the data set, read at the evaluation alone. "
      + _ABSENT
      + "who gave them, and how."
    ),
  )


def _model(results: Results) -> Rows:
  ensemble = f", {results.members} members" if results.members > 1 else ""
  yield "Model", f"{results.method}{ensemble}; its fields stand below."
  origins = ", ".join(f"{k} ({v})" for k, v in results.weights.items())
  yield (
    "Initialization",
    (
      f"Seed {results.seed}"
      + (f" and {results.seeds - 1} more" if results.seeds > 1 else "")
      + f"; pretrained nets: {origins or 'none'}."
    ),
  )
  train = _listed(results.config.get("train", {}))
  select = results.config.get("select", "last")
  yield (
    "Training",
    (f"On normal images. {train or 'Nothing is trained by steps'}."),
  )
  yield (
    "Choice of the final model",
    _ENDS.get(select, f"The best state by {select}, without labels."),
  )
  versions = results.evaluated["versions"].items()
  yield "Software", ", ".join(f"{name} {text}" for name, text in versions) + "."


def _evaluation(results: Results) -> Rows:
  yield (
    "Metrics and uncertainty",
    (
      "AUROC, average precision and false alarms at fixed sensitivity. "
      + table.basis(results.main)
    ),
  )
  said = " ".join(table.alarm_sentences(results.operating))
  yield "Threshold", said or "No threshold was chosen."
  groups = ", ".join(results.operating.get("groups", {}))
  yield "Subgroups", f"By {groups}." if groups else "No groups are recorded."
  yield (
    "Failure analysis",
    (
      "The normal images of the highest and the abnormal ones of the lowest"
      " scores are shown under “Figures”. "
      + _ABSENT
      + "what they have in common."
    ),
  )
  name, score = list(results.main.scores.items())[-1]
  yield (
    "Performance",
    (
      f"{name}: AUROC {table.metric(score, 'auroc')}, average precision"
      f" {table.metric(score, 'ap')}, on {table.images(results.main)}."
    ),
  )


def _listed(section: Mapping[str, Any]) -> str:
  return ", ".join(
    f"{name} {value}" for name, value in section.items() if value is not None
  )
