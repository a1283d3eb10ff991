"""Images that are alike: groups that stay on one side, and near duplicates.

Two images are near duplicates where their gray thumbnails correlate by `NEAR`
or more; brightness and contrast do not count. Audits of built sets and the
check of a folder of normal images both go by it.
"""

from collections.abc import Iterator
import hashlib

from jaxtyping import Float, Int, Shaped, UInt8
import numpy as np

from medad_jax.data import preparation
from medad_jax.data.joined import Rows

# Scans of one patient, or one picture stored twice, reach it. Of the copies
# among Brain Tumor's images nine in ten reach 0.999.
NEAR = 0.995
SIDE = 32  # pixels a side of a thumbnail

_READ = 256  # images that are read at a time
_BLOCK = 512  # thumbnails that are compared with all others at a time
_TILE = 2048  # thumbnails that are compared with as many others at a time
_MOST = 10_000  # pairs after which nobody looks further


def groups(
  images: Rows, patients: Int[np.ndarray, "n"] | None
) -> Int[np.ndarray, "n"]:
  """A number for each image; equal where patients or all pixels are equal.

  Args:
    images: [n h w c]; read in parts.
    patients: the patient's number of every image; None where none is known.
  """
  if patients is None:
    patients = np.arange(len(images))
  first: dict[bytes, int] = {}
  parent = {int(number): int(number) for number in patients}

  def root(number: int) -> int:
    while parent[number] != number:
      parent[number] = parent[parent[number]]
      number = parent[number]
    return number

  for at in range(0, len(images), _READ):
    part = images[at : at + _READ]
    for image, patient in zip(part, patients[at:].tolist(), strict=False):
      digest = hashlib.sha256(np.ascontiguousarray(image)).digest()
      # Of two patients with the same picture one may be the other.
      ours, other = root(patient), root(first.setdefault(digest, patient))
      parent[max(ours, other)] = min(ours, other)
  return np.array([root(patient) for patient in patients.tolist()], int)


def near(
  images: np.ndarray, patients: Int[np.ndarray, "n"]
) -> list[tuple[int, int]]:
  """Pairs of rows of different patients that are near duplicates.

  Args:
    images: gray levels [n h w c]; read in parts.
    patients: a number of each image's patient; images of one are not compared.
  """
  # A kilobyte an image: as numbers that can be multiplied it would be four.
  small = np.empty((len(images), SIDE, SIDE), np.uint8)
  for at in range(0, len(images), _READ):
    part = preparation.to_uint8(np.asarray(images[at : at + _READ]))
    small[at : at + len(part)] = [little(image) for image in part]
  found: list[tuple[int, int]] = []
  for at in range(0, len(small), _TILE):
    own = centered(small[at : at + _TILE])
    pairs: list[tuple[int, int]] = []
    for to in range(at, len(small), _TILE):
      likeness = own @ centered(small[to : to + _TILE]).T
      rows, others = np.nonzero(likeness >= NEAR)
      rows, others = rows + at, others + to
      apart = (rows < others) & (patients[rows] != patients[others])
      pairs += zip(rows[apart].tolist(), others[apart].tolist(), strict=True)
    found += sorted(pairs)
    # So many are no accident, and more of them would tell nothing new.
    if len(found) > _MOST:
      break
  return found


def nearest(
  small: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"]
) -> Iterator[tuple[int, int]]:
  """Yields each row and the most alike one of the others, if that is near.

  Args:
    small: thumbnails, as `thumbnail` makes them.
    others: those of other images.
  """
  for at in range(0, len(small), _BLOCK):
    likeness = small[at : at + _BLOCK] @ others.T
    best = likeness.argmax(1)
    for row, place in enumerate(best.tolist()):
      if likeness[row, place] >= NEAR:
        yield at + row, place


def thumbnail(
  image: Shaped[np.ndarray, "h w *c"],
) -> Float[np.ndarray, "d"]:
  """A small gray picture of mean 0 and norm 1; zeros of a flat one.

  Args:
    image: uint8, gray or RGB.
  """
  return centered(little(image))


def little(
  image: Shaped[np.ndarray, "h w *c"],
) -> UInt8[np.ndarray, "y x"]:
  """The gray picture of `SIDE` squared, not yet centered."""
  from PIL import Image

  # An array of one channel has no channels for Pillow.
  picture = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
  return np.asarray(preparation.Resize(SIDE).image(picture.convert("L")))


def centered(
  pictures: UInt8[np.ndarray, "*n h w"],
) -> Float[np.ndarray, "*n d"]:
  """The pixels in a row, of mean 0 and norm 1; zeros of a flat picture."""
  flat = pictures.reshape(*pictures.shape[:-2], -1).astype(np.float32)
  flat -= flat.mean(-1, keepdims=True)
  norm = np.linalg.norm(flat, axis=-1, keepdims=True)
  return np.where(norm > 1, flat / np.maximum(norm, 1), np.float32(0))
