"""Findings of an audit, from what was seen of the images."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
import dataclasses

import numpy as np

from data_builders.audit_images import Seen
from medad_jax.data import alike, columns, spec
from medad_jax.scoring import metrics

_TELLING = 0.1  # AUROC away from chance that is worth a sentence
_APART = 0.2  # of a column's texts between classes, in total variation
_MOST_TEXTS = 20  # of a column that is no name

# By test split and other split: rows of the test image and of the other one.
Pairs = dict[str, dict[str, list[tuple[int, int]]]]
_Tables = dict[str, list[tuple[str, float, float]]]


@dataclasses.dataclass(frozen=True)
class Findings:
  """Findings of an audit.

  Attributes:
    sentences: the findings in words.
    twins: test images whose file or pixels are also in another split.
    near: test images that are nearly one of another split and no twin.
    trivial: AUROC of `audit_images.SCORES` on the test images, each turned so
      that it is at least 0.5, by its name.
    tables: shares of each class by text, of sizes and columns that differ.
  """

  sentences: tuple[str, ...]
  twins: Pairs
  near: Pairs
  trivial: Mapping[str, float]
  tables: _Tables


def find(
  seen: Mapping[str, Seen], patient: Callable[[str], str | None]
) -> Findings:
  """All findings.

  Args:
    seen: of every split.
    patient: of a file's name, where no column tells patients.
  """
  tests = [split for split in seen if spec.is_test(split)]
  twins: Pairs = {}
  near: Pairs = {}
  sentences: list[str] = []
  for test in tests:
    for other in (split for split in seen if not spec.is_test(split)):
      same, bytewise = _twins(seen[test], seen[other])
      equal = {row for row, _ in same}
      pairs = alike.nearest(seen[test].small, seen[other].small)
      close = [pair for pair in pairs if pair[0] not in equal]
      if same:
        twins.setdefault(test, {})[other] = same
      if close:
        near.setdefault(test, {})[other] = close
      sentences += _about_pairs(seen[test], test, other, bytewise, same, close)
      sentences += _about_patients(seen, test, other, patient)
  sides = _both_classes(seen, tests)
  trivial: dict[str, float] = {}
  tables: _Tables = {}
  if sides is not None:
    trivial = _trivial(sides)
    tables = _tables(sides)
    sentences += _about_trivial(trivial)
    sentences += [f"{title} differ between the classes" for title in tables]
  return Findings(
    tuple(sentences) or ("nothing that would make scores too good",),
    twins,
    near,
    trivial,
    tables,
  )


def _twins(test: Seen, other: Seen) -> tuple[list[tuple[int, int]], set[int]]:
  """Pairs of equal pixels, and the rows of those whose files are equal."""
  places = {digest: row for row, digest in reversed([*enumerate(other.pixels)])}
  bytewise = set(other.files)
  pairs = [
    (row, places[digest])
    for row, digest in enumerate(test.pixels)
    if digest in places
  ]
  return pairs, {r for r, file in enumerate(test.files) if file in bytewise}


def _about_pairs(
  seen: Seen,
  test: str,
  other: str,
  bytewise: set[int],
  same: list[tuple[int, int]],
  close: list[tuple[int, int]],
) -> Iterator[str]:
  rows = {row for row, _ in same}
  kinds = (
    ("have a byte-identical twin", bytewise),
    ("have a twin of equal pixels in another file", rows - bytewise),
    ("have no twin but a near duplicate", {row for row, _ in close}),
  )
  for what, found in kinds:
    for label, word in enumerate(("normal", "abnormal")):
      of = int((seen.labels == label).sum())
      count = sum(seen.labels[row] == label for row in found)
      if count:
        yield f"{count} of {of} {word} images of {test} {what} in {other}"


def _about_patients(
  seen: Mapping[str, Seen],
  test: str,
  other: str,
  patient: Callable[[str], str | None],
) -> Iterator[str]:
  for by, of in (
    ("by their column", lambda s: s.columns.get(columns.PATIENT, ())),
    ("by the names of files", lambda s: map(patient, s.names)),
  ):
    ours, others = ({*filter(None, of(seen[x]))} for x in (test, other))
    if both := ours & others:
      yield (
        f"{len(both)} of {len(ours)} patients of {test} are in {other}, too, to"
        f" go {by}"
      )
    if ours or others:
      return  # a column is better than a guess


def _both_classes(seen: Mapping[str, Seen], tests: list[str]) -> Seen | None:
  """The main test set, with further ones where it has one class alone."""
  if "test" not in tests:
    return None
  main = seen["test"]
  if len({*main.labels.tolist()}) == 2:
    return main
  parts = [seen[split] for split in tests]
  labels = np.concatenate([part.labels for part in parts])
  if len({*labels.tolist()}) < 2:
    return None
  names = [k for k in main.columns if all(k in part.columns for part in parts)]
  return dataclasses.replace(
    main,
    labels=labels,
    scores={
      k: np.concatenate([part.scores[k] for part in parts]) for k in main.scores
    },
    columns={k: sum((part.columns[k] for part in parts), ()) for k in names},
    sizes=sum((part.sizes for part in parts), ()),
  )


def _trivial(seen: Seen) -> dict[str, float]:
  found = {}
  for name, values in seen.scores.items():
    area = metrics.auroc(seen.labels, values)
    assert area is not None  # both classes are there
    found[name if area >= 0.5 else f"minus {name}"] = max(area, 1 - area)
  return dict(sorted(found.items(), key=lambda item: -item[1]))


def _about_trivial(trivial: Mapping[str, float]) -> Iterator[str]:
  for name, area in trivial.items():
    if area >= 0.5 + _TELLING:
      yield f"{name} alone reaches AUROC {area:.3f}"


def _tables(seen: Seen) -> _Tables:
  """Sizes and columns of few texts that the classes differ in."""
  texts = {"image sizes": seen.sizes}
  for name, of in seen.columns.items():
    # A finding or a class is what the label is made of.
    if name not in (columns.PATIENT, columns.FINDING, columns.CLASS):
      texts[f"values of the column {name}"] = of
  found = {}
  for title, values in texts.items():
    kinds = Counter(values)
    if len(kinds) < 2 or (title != "image sizes" and len(kinds) > _MOST_TEXTS):
      continue
    each = [
      Counter(v for v, own in zip(values, seen.labels, strict=True) if own == x)
      for x in (0, 1)
    ]
    totals = [sum(count.values()) for count in each]
    rows = [
      (kind, each[0][kind] / totals[0], each[1][kind] / totals[1])
      for kind, _ in kinds.most_common()
    ]
    if sum(abs(x - y) for _, x, y in rows) / 2 >= _APART:
      found[title] = rows[:_MOST_TEXTS]
  return found
