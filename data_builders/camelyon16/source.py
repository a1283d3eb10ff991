"""Slides and annotations in a folder of Camelyon16's files."""

import csv
import dataclasses
from pathlib import Path
import re

from data_builders import notices
from data_builders.camelyon16.recipe import NORMAL, TUMOR
from medad_jax.types import UserError

_SLIDE = re.compile(r"(normal|tumor|test)_\d{3}")
_ENDINGS = (".tif", ".tiff", ".svs", ".mrxs", ".ndpi")
_REFERENCE = "reference.csv"
# Slides that the publication leaves out.
LEFT_OUT = frozenset(
  {
    *("normal_027", "normal_045", "normal_108", "normal_144", "normal_150"),
    *("normal_158", "test_114"),
  }
)


@dataclasses.dataclass(frozen=True)
class Source:
  """The files of a source.

  Attributes:
    folder: where they are, at any depth.
    slides: file of each slide, by its name in lower case.
    annotations: XML file of each annotated slide.
    reference: reference.csv, the kinds of the test slides; None if it is not
      there.
  """

  folder: Path
  slides: dict[str, Path]
  annotations: dict[str, Path]
  reference: Path | None

  def kinds(self) -> dict[str, str]:
    """The kind of the patches of every slide that is not left out.

    Raises:
      UserError: it is not known, or an annotation is missing.
    """
    found = {
      name: name.partition("_")[0]
      for name in sorted(self.slides)
      if name not in LEFT_OUT
    }
    if "test" in found.values():
      tests = self._kinds_of_tests()
      unknown = [k for k, v in found.items() if v == "test" and k not in tests]
      if unknown:
        raise UserError(
          f"{self.reference} does not tell the kinds of {len(unknown)} test"
          " slides; get the whole file:\n" + notices.listed(unknown)
        )
      found = {name: tests.get(name, kind) for name, kind in found.items()}
    absent = [
      name
      for name, kind in found.items()
      if kind == TUMOR and name not in self.annotations
    ]
    if absent:
      raise UserError(
        f"{len(absent)} slides with tumors have no annotation in"
        f" {self.folder}; add the files, or take these slides out:\n"
        + notices.listed([f"{name}.xml" for name in absent])
      )
    return found

  def _kinds_of_tests(self) -> dict[str, str]:
    if self.reference is None:
      raise UserError(
        f"there are test slides in {self.folder}, and no {_REFERENCE}, which"
        " tells the ones with tumors; add it from the data set's site."
      )
    with self.reference.open(newline="") as file:
      rows = [row for row in csv.reader(file) if len(row) > 1]
    # Names stand there with and without an ending.
    kinds = {Path(row[0]).stem.lower(): row[1].strip().lower() for row in rows}
    return {k: v for k, v in kinds.items() if v in (NORMAL, TUMOR)}


def read(folder: Path) -> Source:
  """Finds the files of a source.

  Raises:
    UserError: there are no slides, or two of one name.
  """
  slides: dict[str, list[Path]] = {}
  annotations, reference = {}, None
  for path in sorted(folder.rglob("*")):
    stem, ending = path.stem.lower(), path.suffix.lower()
    if path.name.lower() == _REFERENCE:
      reference = path
    elif _SLIDE.fullmatch(stem) and ending in _ENDINGS:
      slides.setdefault(stem, []).append(path)
    elif _SLIDE.fullmatch(stem) and ending == ".xml":
      annotations[stem] = path
  if not slides:
    raise UserError(
      f"there are no slides such as normal_001.tif in {folder} or below it;"
      " --source must be the folder of Camelyon16's files."
    )
  twice = [paths for paths in slides.values() if len(paths) > 1]
  if twice:
    raise UserError(
      f"{len(twice)} slides are in {folder} twice; take one of each out:\n"
      + notices.listed([" = ".join(map(str, paths)) for paths in twice])
    )
  return Source(
    folder, {k: v for k, [v] in slides.items()}, annotations, reference
  )
