"""Images a second from a set on disk, beside one that lies on the device.

  python -m benchmarks.feed
  python -m benchmarks.feed --rows=10000000 --images=4096

The feed of large sets reads rows of an array on disk ahead of the device, and
the resident one gathers them inside a step. Both give batches of 224x224x3 in a
random order, which the device puts in [-1, 1]. `--rows` is the number of images
whose order is drawn: seconds and memory of one pass.
"""

import argparse
from pathlib import Path
import sys
import tempfile
import time

import jax
import numpy as np

from benchmarks import protocol, turns
from medad_jax.data import index, resident, stream

_SHAPE = (224, 224, 3)


def main(argv: list[str] | None = None) -> int:
  """Prints a line a feed, and one for the order of a large set."""
  args = _parse(argv)
  print(turns.machine())
  with tempfile.TemporaryDirectory() as folder:
    images = _on_disk(Path(folder) / "images.npy", args.images)
    feeds = {
      "from disk": stream.Stream(images),
      "on the device": resident.Resident(images),
    }
    order = _order(args.images, args.batch)
    sides = {
      name: _reader(feed, order, args.steps) for name, feed in feeds.items()
    }
    times = turns.alternate(sides, args.repeats)
  count = args.steps * args.batch
  for name, taken in times.items():
    rates = sorted(count / seconds for seconds in taken)
    middle = rates[len(rates) // 2]
    print(
      f"{name:14} {middle:9.0f} ({rates[0]:.0f} to {rates[-1]:.0f}) images/s"
    )
  start = time.perf_counter()
  rows = _order(args.rows, args.batch).rows(0, 1, [0])
  taken = time.perf_counter() - start
  drawn = 2 * args.rows * rows["id"].itemsize
  print(
    f"order of {args.rows} images: {taken:.2f} s, {drawn / 1e6:.0f} MB a member"
  )
  return 0


def _on_disk(path: Path, count: int) -> np.ndarray:
  """Noise in a file that is mapped into the memory, not read."""
  whole = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *_SHAPE))
  rng = np.random.default_rng(0)
  for at in range(0, count, 64):
    whole[at : at + 64] = rng.integers(0, 256, whole[at : at + 64].shape)
  whole.flush()
  return np.load(path, mmap_mode="r")


def _order(count: int, batch: int) -> index.Order:
  return index.Order(
    (np.arange(count, dtype=np.int32),), ("train",), (0,), batch
  )


def _reader(feed, order, steps):
  """A function that takes that many batches to the device."""
  constant = jax.device_put(feed.constant)
  take = jax.jit(lambda constant, chunk: feed.batch(constant, chunk)["image"])
  bounds = [(step, step + 1) for step in range(steps)]

  def run(_):
    for chunk in feed.chunks(order, bounds, [0], False):
      found = take(constant, chunk)
    return found

  return run


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.feed", description=__doc__.splitlines()[0]
  )
  for name, value, what in (
    ("images", 4096, "on disk"),
    ("batch", 64, "images of a batch"),
    ("steps", 32, "batches a turn"),
    ("rows", 10_000_000, "images of the set whose order is drawn"),
    ("repeats", 5, "turns"),
  ):
    parser.add_argument(
      f"--{name}",
      type=protocol.positive,
      default=value,
      help=f"{what} [{value}]",
    )
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
