"""Tiny sources for every builder, as their original folders look."""

from collections.abc import Callable
import json
from pathlib import Path

import numpy as np
from PIL import Image

# Split -> (normal, abnormal) images.
COUNTS = {
  "train": (5, 0),
  "unlabelled_normal": (2, 0),
  "unlabelled_abnormal": (0, 3),
  "test": (4, 3),
}


def make(builder: str, folder: Path) -> Path | None:
  """A source for a builder; None for one that needs none."""
  maker = _MAKERS[builder]
  return None if maker is None else maker(folder)


def image(seed: int, size: tuple[int, int] = (20, 13), mode: str = "L"):
  """A PIL image with random pixels."""
  shape = (*size, 3) if mode == "RGB" else size
  pixels = np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)
  return Image.fromarray(pixels)


def image_list(folder: Path, suffix: str = "png") -> Path:
  """images/ and data.json; the lists are not in the order of names."""
  names = [f"{i:02}.{suffix}" for i in range(17)][::-1]
  (folder / "images").mkdir(parents=True)
  for seed, name in enumerate(names):
    picture = image(seed, mode="RGB" if seed % 3 else "L")
    picture.save(folder / "images" / name)
  tree = {
    "train": {
      "0": names[:5],
      "unlabeled": {"0": names[5:7], "1": names[7:10]},
    },
    "test": {"0": names[10:14], "1": names[14:]},
  }
  (folder / "data.json").write_text(json.dumps(tree))
  return folder


def class_folders(folder: Path) -> Path:
  """The layout of the builder for one's own images, with masks."""
  places = {
    "train/normal": 5,
    "unlabelled/normal": 2,
    "unlabelled/abnormal": 3,
    "test/normal": 4,
    "test/abnormal": 3,
  }
  for seed, (place, count) in enumerate(places.items()):
    (folder / place).mkdir(parents=True)
    for i in range(count):
      image(100 * seed + i).save(folder / place / f"{i}.png")
  (folder / "test/masks").mkdir()
  for i in range(3):
    mask = np.zeros((20, 13), np.uint8)
    mask[i : i + 5] = 255
    Image.fromarray(mask).save(folder / "test/masks" / f"{i}.bmp")
  return folder


_MAKERS: dict[str, Callable[[Path], Path] | None] = {
  "brain": lambda folder: image_list(folder, "jpg"),
  "folder": class_folders,
  "lag": lambda folder: image_list(folder, "jpg"),
  "phantom": None,
  "rsna": image_list,
  "vin": image_list,
}
