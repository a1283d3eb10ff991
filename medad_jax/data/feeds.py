"""Which feed a run uses, and what it feeds besides images."""

from pathlib import Path
from typing import Any

from jaxtyping import UInt8
import numpy as np

from medad_jax.data import resident, stream
from medad_jax.types import Prepare, UserError

Feed = resident.Resident | stream.Stream


def choose(
  images: UInt8[np.ndarray, "n h w c"],
  feed: str | None,
  limit_mb: float,
  copies: int = 1,
) -> Feed:
  """The feed that was asked for, or the one that fits.

  Args:
    images: what it feeds.
    feed: 'resident', 'grain' or None to choose by size.
    limit_mb: what a device's memory may hold of the images, in MB.
    copies: how often they would lie in one memory: on a CPU whose cores are
      devices, each of these has its own.

  Raises:
    UserError: the name is unknown.
  """
  kinds: dict[str | None, Any] = {
    "resident": resident.Resident,
    "grain": stream.Stream,
    None: resident.Resident
    if images.nbytes * copies <= limit_mb * 1e6
    else stream.Stream,
  }
  if feed not in kinds:
    raise UserError(
      f"data.feed='{feed}' is not a feed; set it to 'resident' or 'grain', or"
      " leave it out to choose by size."
    )
  return kinds[feed](images)


def prepared(feed: Feed, prepare: Prepare | None, path: Path) -> Feed:
  """The feed with what `prepare` makes of its images, if it is anything.

  It is made once and kept in the file `path`.
  """
  if prepare is None:
    return feed
  if not path.exists():
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **prepare(feed.images))
    temporary.replace(path)
  with np.load(path) as arrays:
    return feed.beside(dict(arrays))
