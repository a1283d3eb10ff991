"""Images that are alike: groups that stay on one side, and suspicious pairs."""

import hashlib

from jaxtyping import Int
import numpy as np

from medad_jax.data.joined import Joined

_READ = 256  # images that are read at a time
_SIDE = 16  # pixels a side of the thumbnails that are compared
_BLOCK = 512  # thumbnails that are compared with all others at a time
# Correlation of thumbnails above which images are nearly the same: copies that
# were compressed or resized reach 0.9999, other patients in the same view 0.99.
_NEAR = 0.9995
_MOST = 10_000  # pairs after which nobody looks further


def groups(
  images: np.ndarray | Joined, patients: Int[np.ndarray, "n"] | None
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
  """Pairs of rows of different patients with nearly the same image.

  Brightness and contrast do not count. Such pairs may be one scan that was
  stored twice.

  Args:
    images: [n h w c]; read in parts.
    patients: a number of each image's patient; images of one are not compared.
  """
  small = _thumbnails(images)
  found: list[tuple[int, int]] = []
  for at in range(0, len(small), _BLOCK):
    likeness = small[at : at + _BLOCK] @ small[at:].T
    rows, others = (n + at for n in np.nonzero(likeness > _NEAR))
    apart = (rows < others) & (patients[rows] != patients[others])
    found += zip(rows[apart].tolist(), others[apart].tolist(), strict=True)
    # So many are no accident, and more of them would tell nothing new.
    if len(found) > _MOST:
      break
  return found


def _thumbnails(images: np.ndarray) -> np.ndarray:
  """Means of 16 by 16 parts, of mean 0 and length 1 [n 256]."""
  edges = np.linspace(0, images.shape[1], _SIDE + 1).astype(int)[:-1]
  widths = np.diff([*edges, images.shape[1]])
  found = np.empty((len(images), _SIDE**2), np.float32)
  for at in range(0, len(images), _READ):
    part = images[at : at + _READ].astype(np.float32).mean(-1)
    sums = np.add.reduceat(np.add.reduceat(part, edges, 1), edges, 2)
    means = (sums / widths[:, None] / widths).reshape(len(part), -1)
    means -= means.mean(1, keepdims=True)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    found[at : at + len(part)] = means / np.maximum(lengths, 1e-9)
  return found
