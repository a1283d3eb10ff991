"""The one-class protocol: one class of a set is normal, and all others are not.

A set with several classes has them in a column. Its name with a class behind
it, such as "cifar10:3", stands for the set of this protocol: the class's own
images train, and all test images are scored.
"""

import dataclasses
import hashlib
import json

import numpy as np

from medad_jax.data import columns, spec
from medad_jax.types import UserError


def parse(name: str) -> tuple[str, str | None]:
  """A built set's name and the normal class; None where none is named."""
  built, colon, normal = name.partition(":")
  return built, normal if colon else None


def select(dataset: spec.Dataset, normal: str | None) -> spec.Dataset:
  """The set in which one class is normal; its counts stay the built set's.

  Args:
    dataset: has the column `class`, if a class is named.
    normal: the class; None for the labels that the set was built with.

  Raises:
    UserError: the set has no classes or not that one, or it has nothing but
      classes and none is named.
  """
  known = {
    text
    for split in dataset.splits.values()
    for text in split.columns.get(columns.CLASS, ())
  }
  if normal is None:
    _check_labels(dataset, known)
    return dataset
  if normal not in known:
    there = f"the classes {', '.join(sorted(known))}" if known else "no classes"
    raise UserError(
      f"data.name={dataset.name}:{normal} names the class '{normal}', and"
      f" {dataset.name} has {there}; set data.name to"
      f" {f'{dataset.name}:{min(known)}' if known else dataset.name}."
    )
  splits = {
    name: _select(split, normal, every=name.startswith("test"))
    for name, split in dataset.splits.items()
  }
  decisive = json.dumps([dataset.fingerprint, normal])
  return dataclasses.replace(
    dataset,
    name=f"{dataset.name}:{normal}",
    splits=splits,
    fingerprint=hashlib.sha256(decisive.encode()).hexdigest(),
  )


def _select(split: spec.Split, normal: str, every: bool) -> spec.Split:
  """The rows of the class, or all rows, with the class's labels."""
  own = np.array(split.columns[columns.CLASS]) == normal
  rows = np.arange(len(split)) if every else np.flatnonzero(own)

  def some(values):
    return tuple(values[row] for row in rows)

  return spec.Split(
    images=split.images if every else split.images[rows],
    labels=(~own[rows]).astype(split.labels.dtype),
    names=some(split.names),
    masks=None if split.masks is None else split.masks[rows],
    healthy=None if split.healthy is None else split.healthy[rows],
    columns={name: some(texts) for name, texts in split.columns.items()},
  )


def _check_labels(dataset: spec.Dataset, known: set[str]) -> None:
  test = dataset.splits.get("test")
  if not known or test is None or test.labels.any():
    return
  raise UserError(
    f"{dataset.name} has classes and no anomalies; name the class that is"
    f" normal, such as data.name={dataset.name}:{min(known)}."
  )
