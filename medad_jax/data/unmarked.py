"""Abnormal images whose mask has no marked pixel at the size that is read."""

import functools
import sys

from jaxtyping import Bool, Int
import numpy as np

_SHOWN = 5


def warn(
  split: str,
  names: tuple[str, ...],
  labels: Int[np.ndarray, "n"],
  masks: Bool[np.ndarray, "n h w"] | None,
) -> None:
  """Counts and names them on standard error, once.

  A lesion of a few pixels can fall between those that are kept when a mask is
  reduced by nearest pixel. Pixel metrics then take the image as normal.

  Args:
    split: the set and its split, for the message.
    names: file names of the images.
    labels: the true classes, 0 normal, 1 abnormal.
    masks: the reduced masks; None where the set has none.
  """
  if masks is None:
    return
  abnormal = np.flatnonzero(labels == 1)
  # Row by row: all masks of a mapped file need not fit in memory.
  lost = [row for row in abnormal if not masks[row].any()]
  if lost:
    _say(
      split,
      f"{len(lost)} of {len(abnormal)}",
      "x".join(map(str, masks.shape[1:])),
      tuple(names[row] for row in lost[:_SHOWN]),
      len(lost) > _SHOWN,
    )


@functools.cache  # the splits of a set are opened several times
def _say(
  split: str, count: str, size: str, names: tuple[str, ...], more: bool
) -> None:
  print(
    f"medad_jax: {count} abnormal images of {split} have no marked pixel at"
    f" {size} pixels, so that pixel metrics take them as normal"
    f" ({', '.join(names)}{', ...' if more else ''}); a larger"
    " config.data.image_size keeps small lesions.",
    file=sys.stderr,
  )
