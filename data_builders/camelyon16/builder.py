"""Camelyon16 (metastases in lymph nodes), patches of slides as DPA has them."""

from collections.abc import Mapping, Sequence
import functools
from pathlib import Path
import shutil
import sys
import tempfile
from typing import Any
import weakref

import numpy as np

from data_builders import base, notices
from data_builders.camelyon16 import patch_lists, recipe, source, stain, tasks
from data_builders.camelyon16.patch_lists import Lists, Patch
from data_builders.camelyon16.recipe import FACTORS, NORMAL
from data_builders.camelyon16.slide import Slide, SlideError, library
from data_builders.camelyon16.task import Task
from medad_jax import files
from medad_jax.data import columns, store
from medad_jax.types import UserError

# Split -> the list of each of its parts, with their label.
_SPLITS = {
  "train": (("normal/train", 0),),
  "unlabelled_abnormal": (("anomaly/train", 1),),
  "test": (("normal/test", 0), ("anomaly/test", 1)),
}
_PUBLISHED, _SAMPLED = "published", "sampled"
_SCALE = "x10"  # of the set that is called camelyon16


class Builder(base.SetBuilder, skip_registration=True):
  """Patches of stained tissue; abnormal means tumor all over.

  They are 768 pixels wide at the slide's full size, with the stains of one
  slide, and are kept at x10 (192 pixels), x20 or x40. Patches are stored
  without loss, where the reference had JPEG files. Tumor patches of training
  slides are unlabeled, and those of the published folds are among them.

  Of each slide at most 50 patches were drawn, without a seed; the published
  lists have their places. `sampled` draws others: normal ones from slides
  without tumors, tumor patches inside the outlines of the annotations.

  Args:
    patches: "published", "sampled" or a folder of lists.
    seed: of the draw.
    scale: of `recipe.FACTORS`.
    keep: a folder where patches of all scales stay; None keeps them until the
      set is built, at its scale.
    beam_pipeline_options: None works on this machine alone.
    **kwargs: as every builder.

  Raises:
    UserError: an option is none of these.
  """

  CITATION = (
    "Ehteshami Bejnordi et al., JAMA 318 (2017) 2199; "
    "Shvetsova et al., IEEE Access 2021 (patches)"
  )
  HOMEPAGE = "https://camelyon16.grand-challenge.org"
  COLUMNS = {"organ": "lymph node", "modality": "histopathology"}
  LICENSE = "CC0 (the slides)"
  SOURCE = (
    "a folder that has normal_001.tif and all other slides, and for sampled"
    " patches the annotations (*.xml) and reference.csv, at any depth"
  )
  PUBLISHED = {"train": 7612, "unlabelled_abnormal": 2169, "test": 4000 + 817}
  FLAGS = {
    "patches": {
      "help": "which to cut: published, sampled (draws others), or a folder of"
      " lists such as KEEP/sampled_0/lists [published]"
    },
    "seed": {"type": int, "help": "of --patches=sampled [0]"},
    "scale": {
      "choices": FACTORS,
      "help": "magnification; x20 and x40 are sets of their own [x10]",
    },
    "keep": {
      "help": "a folder where the patches at all scales and their lists stay,"
      " to build the other sets from [none]"
    },
    "beam_pipeline_options": {
      "help": "runs the slides' tasks by Apache Beam:"
      " runner=DataflowRunner,project=..."
    },
  }

  def __init__(
    self,
    *,
    patches: str = _PUBLISHED,
    seed: int | None = None,
    scale: str = _SCALE,
    keep: str | None = None,
    beam_pipeline_options: str | None = None,
    **kwargs: Any,
  ):
    if seed is not None and patches != _SAMPLED:
      raise UserError(
        f"--seed={seed} was given with --patches={patches}, which draws"
        " nothing; leave it out, or use --patches=sampled."
      )
    self._which, self._seed, self._scale = patches, seed or 0, scale
    self._keep = files.expanded(keep).absolute() if keep else None
    self._beam, self._sizes = beam_pipeline_options, recipe.PUBLISHED
    super().__init__(**kwargs)

  @classmethod
  def suffix(cls, options: Mapping[str, Any]) -> str:
    """Another scale is another set, beside camelyon16."""
    scale = options.get("scale", _SCALE)
    return "" if scale == _SCALE else f"_{scale}"

  def find(self) -> Mapping[str, Sequence[base.Row]]:
    """The patches of the lists, after all slides' tasks."""
    return {
      split: [
        base.Row(
          patch.name,
          label,
          self._done[patch.slide].path(patch, self._scale),
          # Each slide is of another patient.
          columns={columns.PATIENT: patch.slide, "slide": patch.slide},
        )
        for file, label in parts
        for patch in self._lists[file]
      ]
      for split, parts in _SPLITS.items()
    }

  def channels(self) -> int:
    """Stained tissue is in color."""
    return 3

  def columns(self) -> tuple[str, ...]:
    """Names of the columns, which are known before any slide is read."""
    return tuple(sorted({*self.COLUMNS, columns.PATIENT, "slide"}))

  def left_out(self) -> Sequence[str]:
    """The slides that are not read."""
    others = sorted(self._source.slides.keys() - self._done.keys())
    if not others:
      return ()
    return (
      f"{len(others)} slides are not read, as no list names them or the"
      " publication leaves them out:\n" + notices.listed(others),
    )

  @functools.cached_property
  def _source(self) -> source.Source:
    return source.read(self.source)

  @functools.cached_property
  def _folder(self) -> Path:
    """The folder of slides' patches, one for each choice of them."""
    place = self._keep or self.work
    if place is None:  # they are gone with the builder
      place = Path(tempfile.mkdtemp(prefix="camelyon16"))
      weakref.finalize(self, shutil.rmtree, place)
    choice = f"{_SAMPLED}_{self._seed}" if self._given is None else self._which
    folder = place / Path(choice).name
    files.make_folder(folder)
    return folder

  @functools.cached_property
  def _lists(self) -> Lists:
    """The patches of every list."""
    if self._given is not None:
      return self._given
    drawn: dict[str, list[Patch]] = {file: [] for file in patch_lists.FILES}
    for name, task in self._done.items():
      part = "test" if name.startswith("test") else "train"
      kind = "normal" if task.kind == NORMAL else "anomaly"
      drawn[f"{kind}/{part}"] += task.done() or []
    if self._keep:
      patch_lists.write(self._folder / "lists", drawn)
    return drawn

  @functools.cached_property
  def _given(self) -> Lists | None:
    """The lists to cut; None if places are drawn."""
    if self._which == _SAMPLED:
      return None
    if self._which == _PUBLISHED:
      return patch_lists.published()
    folder = files.expanded(self._which)
    if not folder.is_dir():
      raise UserError(
        f"--patches={self._which} is neither published nor sampled nor a folder"
        " of lists; use one of these."
      )
    return patch_lists.read(folder)

  @functools.cached_property
  def _done(self) -> dict[str, Task]:
    """The tasks of all slides that have patches, all done."""
    library()
    patches: dict[str, list[Patch]] = {}
    kinds: dict[str, str] = {}
    if self._given is None:
      kinds = self._source.kinds()
    else:
      patches = patch_lists.by_slide(self._given)
      self._check_there(patches)
    with store.locked(self._folder / "these_slides"):
      todo = self._todo(kinds, patches)
      tasks.run(todo, self._beam)
    return {task.name: task for task in todo}

  def _todo(
    self, kinds: Mapping[str, str], patches: Mapping[str, Sequence[Patch]]
  ) -> list[Task]:
    """One task a slide, which has either a kind or patches."""
    stains = self._stains()
    return [
      Task(
        name,
        self._source.slides[name],
        self._source.annotations.get(name) if name in kinds else None,
        kinds.get(name, ""),
        tuple(patches[name]) if name in patches else None,
        self._seed,
        self._sizes,
        stains,
        tuple(FACTORS) if self._keep else (self._scale,),
        self._folder,
      )
      for name in sorted(kinds or patches)
    ]

  def _check_there(self, patches: Mapping[str, Sequence[Patch]]) -> None:
    absent = sorted(patches.keys() - self._source.slides.keys())
    if absent:
      count = sum(len(patches[name]) for name in absent)
      raise UserError(
        f"the lists name {count:,} patches of {len(absent)} slides that are not"
        f" in {self.source}; add these slides, or cut others with"
        " --patches=sampled:\n" + notices.listed(absent)
      )

  def _stains(self) -> tuple[tuple[float, ...], ...]:
    """The stains of the target slide, which are learned once."""
    sizes = self._sizes
    path = self._source.slides.get(sizes.target)
    if path is None:
      raise UserError(
        f"all patches get the stains of {sizes.target}, which is not in"
        f" {self.source}; add this slide."
      )
    notes = self._folder / "stains.json"
    state = [path.stat().st_size, path.stat().st_mtime_ns]
    if notes.exists():
      found = files.read_json(notes, "delete it")
      if found["slide"] == state:
        return tuple(map(tuple, found["stains"]))
    print(f"learning the stains of {sizes.target}", file=sys.stderr)
    try:
      with Slide(path) as slide:
        region = slide.region(sizes.row, sizes.column, sizes.size)
      stains: np.ndarray = stain.learn(stain.pixels_of(region))
    except SlideError as error:
      raise UserError(
        f"{path} should have the stains of all patches, and {error}; restore"
        " the slide."
      ) from error
    files.write_json(notes, {"slide": state, "stains": stains.tolist()})
    return tuple(map(tuple, stains.tolist()))
