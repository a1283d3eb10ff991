"""Your own images, sorted into folders."""

from collections.abc import Mapping
from pathlib import Path

from data_builders import base
from medad_jax.types import UserError

# Folders of each split, with the label of their images.
_FOLDERS = {
  "train": (("train/normal", 0),),
  "unlabelled_normal": (("unlabelled/normal", 0),),
  "unlabelled_abnormal": (("unlabelled/abnormal", 1),),
  "test": (("test/normal", 0), ("test/abnormal", 1)),
}
_NEEDED = ("train/normal", "test/normal", "test/abnormal")
_MASKS = "test/masks"
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


class Builder(base.SetBuilder, skip_registration=True):
  """Images of one folder a class, in the order of their names.

  train/normal, test/normal and test/abnormal are needed. unlabelled/normal and
  unlabelled/abnormal are what DDAD's second ensemble learns from (the label is
  kept for the anomaly ratio, no method sees it). With test/masks, every image
  of test/abnormal has a mask of the same name there, in any image format;
  what is not black is abnormal.
  """

  SOURCE = "a folder with " + ", ".join(_NEEDED)

  def find(self) -> Mapping[str, list[base.Row]]:
    """The images below the folders of each split."""
    source = self.source
    found = {
      folder: _images(source / folder)
      for parts in _FOLDERS.values()
      for folder, _ in parts
    }
    empty = [folder for folder in _NEEDED if not found[folder]]
    if empty:
      raise UserError(
        f"there are no images in {', '.join(empty)} of {source}; --source must"
        f" be {self.SOURCE}, with files ending in"
        f" {', '.join(sorted(_SUFFIXES))}."
      )
    masks = _match(source, found["test/abnormal"]) if self.has_masks() else {}
    return {
      split: [
        base.Row(str(path.relative_to(source)), label, path, masks.get(path))
        for folder, label in parts
        for path in found[folder]
      ]
      for split, parts in _FOLDERS.items()
    }

  def has_masks(self) -> bool:
    """Whether the source has the folder of masks."""
    return (self.source / _MASKS).is_dir()


def _images(folder: Path) -> list[Path]:
  return sorted(
    path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES
  )


def _match(source: Path, images: list[Path]) -> dict[Path, Path]:
  """The mask of every abnormal test image, by its name without the ending."""
  masks = {path.stem: path for path in _images(source / _MASKS)}
  stems = {path.stem for path in images}
  wrong = [f"  {p.name}: no mask" for p in images if p.stem not in masks]
  wrong += [
    f"  {masks[s].name}: no image" for s in sorted(masks.keys() - stems)
  ]
  if wrong:
    raise UserError(
      f"{source / _MASKS} and test/abnormal do not match; give every abnormal"
      " test image a mask of the same name, or take the folder away:\n"
      + "\n".join(wrong)
    )
  return {path: masks[path.stem] for path in images}
