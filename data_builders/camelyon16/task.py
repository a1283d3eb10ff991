"""The task of one slide: all of its patches, in a folder of its own."""

from collections.abc import Sequence
import dataclasses
import hashlib
import json
from pathlib import Path
import shutil
import uuid
import zlib

import numpy as np

from data_builders import pictures
from data_builders.camelyon16 import (
  annotation,
  magnification,
  patch_lists,
  stain,
  tissue,
  tumor_mask,
)
from data_builders.camelyon16.patch_lists import Patch
from data_builders.camelyon16.recipe import FACTORS, TUMOR, Recipe
from data_builders.camelyon16.slide import Slide, SlideError

_NOTES = "done.json"


@dataclasses.dataclass(frozen=True)
class Task:
  """One slide, and what is to be made of it. It can be sent to other hosts.

  Attributes:
    name: of the slide.
    slide: its file.
    annotation: its XML file, which places of tumor patches are drawn by.
    kind: of the patches that are drawn.
    patches: those to cut; None to draw some.
    seed: of the draw.
    recipe: sizes.
    stains: the two of the target.
    scales: of `FACTORS`, that are kept.
    out: the folder in which the slide's own appears when it is done.
  """

  name: str
  slide: Path
  annotation: Path | None
  kind: str
  patches: tuple[Patch, ...] | None
  seed: int
  recipe: Recipe
  stains: tuple[tuple[float, ...], ...]
  scales: tuple[str, ...]
  out: Path

  @property
  def folder(self) -> Path:
    """The slide's own folder."""
    return self.out / self.name

  def done(self) -> list[Patch] | None:
    """The patches that are there; None if the task is still to do.

    Made of another file, with other stains or at other places, they are not
    those of this task.
    """
    try:
      notes = json.loads((self.folder / _NOTES).read_text())
    except (OSError, ValueError):
      return None
    if notes["of"] != self._identity() or set(self.scales) - {*notes["scales"]}:
      return None
    return patch_lists.parsed(notes["patches"], str(self.folder))

  def path(self, patch: Patch, scale: str) -> Path:
    """The file of a patch."""
    return self.folder / scale / f"{patch.name.removesuffix('.jpg')}.png"

  def finish(self, fresh: Path, patches: Sequence[Patch]) -> None:
    """Moves a folder of all patches to its place, in one step."""
    notes = {
      "of": self._identity(),
      "scales": self.scales,
      "patches": [patch.name for patch in patches],
    }
    (fresh / _NOTES).write_text(json.dumps(notes))
    shutil.rmtree(self.folder, ignore_errors=True)
    try:
      fresh.rename(self.folder)
    except OSError:
      # Beam may try a task twice at once, and the other one came first.
      if self.done() is None:
        raise
      shutil.rmtree(fresh)

  def _identity(self) -> str:
    """A digest of what decides the patches."""
    kept = dataclasses.asdict(dataclasses.replace(self, scales=(), out=Path()))
    states = [
      (found.st_size, found.st_mtime_ns)
      for path in (self.slide, self.annotation)
      if path is not None
      for found in (path.stat(),)
    ]
    text = json.dumps([kept, states], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def work(task: Task) -> str:
  """Cuts, normalizes and shrinks all patches of a slide.

  Returns:
    Why it cannot be done, or an empty text.
  """
  # Nobody else writes here, whatever becomes of other tries at the same slide.
  fresh = task.out / f".{task.name}.{uuid.uuid4().hex}"
  for scale in task.scales:
    (fresh / scale).mkdir(parents=True)
  try:
    with Slide(task.slide) as slide:
      patches = task.patches
      if patches is None:
        patches = _drawn(task, slide)
      for patch in patches:
        _cut(task, slide, patch, fresh)
  except SlideError as error:
    shutil.rmtree(fresh)
    return str(error)
  task.finish(fresh, patches)
  return ""


def _drawn(task: Task, slide: Slide) -> tuple[Patch, ...]:
  """Patches at random places of tissue, or of tumor."""
  overview = slide.overview(task.recipe.level)
  found = tissue.cells(overview)
  if task.kind == TUMOR:
    polygons = annotation.read(task.annotation)
    annotation.check_inside(polygons, *slide.size)
    height, width = overview.shape[:2]
    mask = tumor_mask.draw(polygons, slide.size, (width, height))
    found = tissue.tumor_cells(found, mask)
  # Which slides there are beside it does not matter.
  random = np.random.RandomState([task.seed, zlib.crc32(task.name.encode())])
  size = task.recipe.patch
  return tuple(
    Patch(task.name, task.kind, row * size, column * size, size)
    for row, column in tissue.draw(found, random)
  )


def _cut(task: Task, slide: Slide, patch: Patch, fresh: Path) -> None:
  pixels = slide.region(patch.row, patch.column, patch.size)
  try:
    pixels = stain.normalized(pixels, np.array(task.stains))
  except SlideError as error:
    raise SlideError(f"{error} in {patch.name}") from error
  for scale in task.scales:
    data = pictures.encoded(magnification.shrunk(pixels, FACTORS[scale]))
    (fresh / task.path(patch, scale).relative_to(task.folder)).write_bytes(data)
