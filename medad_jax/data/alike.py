"""Groups of images that belong on one side of any division."""

import hashlib

from jaxtyping import Int
import numpy as np

from medad_jax.data.joined import Joined

_READ = 256  # images that are read at a time


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
