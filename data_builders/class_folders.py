"""Layouts in which a folder is a class: what stands in it is an image of it.

Folders are read in the order of names. The reference takes them as the
operating system lists them, which differs between machines and decides
nothing but ids.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
import functools
from pathlib import Path
from typing import ClassVar

from data_builders import base, folders
from medad_jax.types import UserError


class ClassFolderBuilder(base.SetBuilder, skip_registration=True):
  """A set with one folder a class, and perhaps one of masks.

  Attributes:
    FOLDERS: the folders of each split, with the label of their images.
    OPTIONAL: those that may be absent.
    MASKS: the folder of the masks of all abnormal test images.
  """

  FOLDERS: ClassVar[Mapping[str, Sequence[tuple[str, int]]]]
  OPTIONAL: ClassVar[frozenset[str]] = frozenset()
  MASKS: ClassVar[str | None] = None

  def find(self) -> Mapping[str, list[base.Row]]:
    """The images below the folders of each split."""
    self._check_folders()
    masks = self._masks() if self.has_masks() else {}
    return {
      split: [
        base.Row(
          name := path.relative_to(self.source).as_posix(),
          label,
          path,
          masks.get(self._key(folder, path)) if label else None,
          self.columns_of(name),
        )
        for folder, label in parts
        for path in self._images(folder)
      ]
      for split, parts in self.FOLDERS.items()
    }

  def misfits(self) -> Mapping[Path, str]:
    """Unreadable folders, and images and masks that have no counterpart."""
    found = {
      path: reason
      for listing in self._listings.values()
      for path, reason in listing.misfits.items()
    }
    return {**self._unpaired(), **found} if self.has_masks() else found

  def left_out(self) -> Sequence[str]:
    """Counts of files that are hidden, of other endings or in other folders."""
    counts = folders.outside(self.source, self._listings)
    for listing in self._listings.values():
      counts.update(listing.left_out)
    return folders.describe(counts)

  def has_masks(self) -> bool:
    """True if the source has the folder of masks."""
    return self.MASKS is not None and (self.source / self.MASKS).is_dir()

  def mask_stem(self, stem: str) -> str:
    """The name of an image's mask, both without their ending."""
    return stem

  @functools.cached_property
  def _listings(self) -> Mapping[str, folders.Listing]:
    named = [folder for parts in self.FOLDERS.values() for folder, _ in parts]
    masks = [self.MASKS] if self.MASKS else []
    return {f: folders.read(self.source / f) for f in named + masks}

  def _check_folders(self) -> None:
    empty = [
      folder
      for folder, listing in self._listings.items()
      if not listing.images
      and not listing.misfits
      and folder not in self.OPTIONAL
    ]
    if empty:
      raise UserError(
        f"there are no images in {', '.join(empty)} of {self.source};"
        f" --source must be {self.SOURCE}, with files ending in"
        f" {', '.join(folders.SUFFIXES)}."
      )

  def _unpaired(self) -> Mapping[Path, str]:
    """Abnormal test images and masks that are not one to one."""
    images = {
      path: self._key(folder, path)
      for folder, label in self.FOLDERS["test"]
      for path in self._images(folder)
      if label
    }
    masks = {path: self._mask_key(path) for path in self._images(self.MASKS)}
    sharing, doubled = Counter(images.values()), Counter(masks.values())
    reasons = {}
    for path, key in images.items():
      if key not in doubled:
        reasons[path] = "no mask"
      elif sharing[key] > 1:
        reasons[path] = "another image has the same mask"
    for path, key in masks.items():
      if key not in sharing:
        reasons[path] = "no image"
      elif doubled[key] > 1:
        reasons[path] = "its image has another mask"
    return reasons

  def columns_of(self, name: str) -> Mapping[str, str]:
    """The columns of an image, from its path below the source."""
    del name
    return {}

  def _images(self, folder: str) -> list[Path]:
    return self._listings[folder].images

  def _masks(self) -> dict[Path, Path]:
    return {self._mask_key(path): path for path in self._images(self.MASKS)}

  def _mask_key(self, mask: Path) -> Path:
    return mask.relative_to(self.source / self.MASKS).with_suffix("")

  def _key(self, folder: str, image: Path) -> Path:
    below = image.relative_to(self.source / folder)
    return below.with_name(self.mask_stem(below.stem))
