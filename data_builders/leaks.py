"""Files in two splits or under both labels, and patients in train and test."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
import re
from typing import NamedTuple

from data_builders import notices
from medad_jax.data import columns
from medad_jax.types import UserError

# Where a name tells the patient: words, TCGA, BraTS and OCT2017.
_PATIENTS = (
  r"(?:^|[^a-z])((?:patient|pat|pid|subject|subj|sub|case)[ _-]?\d+)",
  r"(?:^|/)(p[_-]?\d+)",
  r"(?:^|[^a-z])(tcga[_-][a-z0-9]{2}[_-][a-z0-9]{4})",
  r"(?:^|[^a-z])(brats[a-z0-9]*(?:[_-][a-z]+)*[_-]\d+)",
  r"(?:^|/)((?:cnv|dme|drusen|normal)-\d+)-\d+\.[a-z]+$",
)
# What looks like one: a number of three digits or more before the number of a
# slice or view.
_GUESSES = (r"(?:^|/)([^/]*\d{3})[_-][a-z]*[_-]?\d{1,4}\.[a-z]+$",)
_CAUTION = "; scores may be too good"
_NAMED = [re.compile(pattern) for pattern in _PATIENTS]
_PERHAPS = [re.compile(pattern) for pattern in _PATIENTS + _GUESSES]


class Image(NamedTuple):
  """An image of a split: its name, label and file.

  Attributes:
    name: what the source calls it.
    label: the true class, 0 normal, 1 abnormal.
    digest: a checksum of the file; None when the image is generated.
  """

  name: str
  label: int
  digest: str | None


def check(splits: Mapping[str, Sequence[Image]]) -> None:
  """Warns of files and patients that are in two splits.

  Raises:
    UserError: one file has both labels.
  """
  groups = defaultdict(list)
  for split, images in splits.items():
    for image in images:
      if image.digest is not None:
        groups[image.digest].append((split, image))
  same = [group for group in groups.values() if len(group) > 1]
  _refuse_two_labels(same)
  _warn_of_copies(same)
  _warn_of_patients(splits)


def patient(name: str) -> str | None:
  """Returns the patient that a file name identifies, or None.

  It understands words with a number (patient12, sub-03, case_7, P001) in a
  file or folder name, the names of TCGA, BraTS and OCT2017, and a long number
  before the number of a slice or view (ChestX-ray14's 00000013_005.png).
  """
  return _first(_PERHAPS, name)


def known_patient(name: str) -> str | None:
  """Returns the patient that a file name states, without a guess, or None.

  As `patient`, but a number alone, whatever its length, states none.
  """
  return _first(_NAMED, name)


def patient_column(name: str) -> dict[str, str]:
  """The column `patient` of an image, where its name states one."""
  found = known_patient(name)
  return {} if found is None else {columns.PATIENT: found}


def _first(patterns: Iterable[re.Pattern[str]], name: str) -> str | None:
  for pattern in patterns:
    found = pattern.search(name.lower())
    if found:
      return re.sub(r"[ _-]", "", found[1])
  return None


def _refuse_two_labels(same: Iterable[Sequence[tuple[str, Image]]]) -> None:
  torn = [
    " = ".join(f"{image.name} ({split}, {_word(image)})" for split, image in g)
    for g in same
    if len({image.label for _, image in g}) > 1
  ]
  if torn:
    raise UserError(
      f"{len(torn)} byte-identical files are under both labels; remove"
      " each from one of them:\n" + notices.listed(torn)
    )


def _warn_of_copies(same: Iterable[Sequence[tuple[str, Image]]]) -> None:
  copies = defaultdict(list)
  for group in same:
    first: dict[str, Image] = {}  # of each split
    for split, image in group:
      for earlier, other in first.items():
        if earlier != split:
          copies[earlier, split].append(f"{image.name} = {other.name}")
      first.setdefault(split, image)
  for (earlier, split), lines in copies.items():
    notices.warn(
      f"images of {split} that are byte-identical to images of {earlier}:"
      f" {len(lines)}{_CAUTION if split == 'test' else ''}\n"
      + notices.listed(lines)
    )


def _warn_of_patients(splits: Mapping[str, Sequence[Image]]) -> None:
  test = set(_patients(splits.get("test", ())))
  for split, images in splits.items():
    both = sorted(test.intersection(_patients(images)))
    if split != "test" and both:
      notices.warn(
        f"patients with images in {split} and in test, to go by the names of"
        f" files: {len(both)}{_CAUTION}\n" + notices.listed(both)
      )


def _patients(images: Iterable[Image]) -> Iterator[str]:
  return (who for image in images if (who := patient(image.name)) is not None)


def _word(image: Image) -> str:
  return "abnormal" if image.label else "normal"
