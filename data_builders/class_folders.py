"""Layouts in which a folder is a class: what stands in it is an image of it.

Folders are read in the order of names. The reference takes them as the
operating system lists them, which differs between machines and decides
nothing but ids.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from data_builders import base
from medad_jax.types import UserError

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


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
          path.relative_to(self.source).as_posix(),
          label,
          path,
          masks.get(self._key(folder, path)) if label else None,
        )
        for folder, label in parts
        for path in self._images(folder)
      ]
      for split, parts in self.FOLDERS.items()
    }

  def misfits(self) -> Mapping[Path, str]:
    """Abnormal test images without a mask, and masks without an image."""
    if not self.has_masks():
      return {}
    masks = self._masks()
    images = {
      path: self._key(folder, path)
      for folder, label in self.FOLDERS["test"]
      for path in self._images(folder)
      if label
    }
    matched = {masks[key] for key in images.values() if key in masks}
    return {
      **{path: "no mask" for path, key in images.items() if key not in masks},
      **{
        path: "no image"
        for path in self._images(self.MASKS)
        if path not in matched
      },
    }

  def has_masks(self) -> bool:
    """Whether the source has the folder of masks."""
    return self.MASKS is not None and (self.source / self.MASKS).is_dir()

  def mask_stem(self, stem: str) -> str:
    """The name of an image's mask, both without their ending."""
    return stem

  def _check_folders(self) -> None:
    named = [folder for parts in self.FOLDERS.values() for folder, _ in parts]
    masks = [self.MASKS] if self.MASKS else []
    needed = [f for f in named + masks if f not in self.OPTIONAL]
    empty = [folder for folder in needed if not self._images(folder)]
    if empty:
      raise UserError(
        f"there are no images in {', '.join(empty)} of {self.source};"
        f" --source must be {self.SOURCE}, with files ending in"
        f" {', '.join(sorted(_SUFFIXES))}."
      )

  def _images(self, folder: str) -> list[Path]:
    return sorted(
      path
      for path in (self.source / folder).rglob("*")
      # Archives made on a Mac hide a ._NAME beside every file.
      if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    )

  def _masks(self) -> dict[Path, Path]:
    return {
      path.relative_to(self.source / self.MASKS).with_suffix(""): path
      for path in self._images(self.MASKS)
    }

  def _key(self, folder: str, image: Path) -> Path:
    below = image.relative_to(self.source / folder)
    return below.with_name(self.mask_stem(below.stem))
