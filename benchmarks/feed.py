"""Images a second from records and from an array on disk, beside the device's.

  python -m benchmarks.feed
  python -m benchmarks.feed --rows=10000000 --images=4096

The feed of large sets reads rows of an array on disk ahead of the device, or
decodes the records of a built set in several processes; the resident one
gathers rows inside a step. All give batches of 224x224x3 in a random order,
which the device puts in [-1, 1]. `--rows` is the number of images whose order
is drawn: seconds and memory of one pass.
"""

import argparse
from collections.abc import Iterator
import contextlib
import io
import itertools
from pathlib import Path
import statistics
import sys
import tempfile
import time
from typing import Any

import jax
import numpy as np
from PIL import Image

from benchmarks import protocol, turns
from data_builders import build
from medad_jax.data import feeds, index, resident, spec, stream

_SIDE = 224
_AHEAD = 16  # batches a process may have ready while others take their turn


def main(argv: list[str] | None = None) -> int:
  """Prints a line a feed, and one for the order of a large set."""
  args = _parse(argv)
  print(turns.machine())
  with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
    root = _build(Path(folder), args.images)
    order = _order(args.images, args.batch)
    readers = {
      name: stack.enter_context(contextlib.closing(_read(feed, order, args)))
      for name, feed in _feeds(root, args.workers).items()
    }
    found = [
      {name: next(reader) for name, reader in readers.items()}
      for _ in range(args.repeats)
    ]
  for name in readers:
    rates = sorted(args.steps * args.batch / turn[name] for turn in found)
    print(
      f"{name:24} {statistics.median(rates):9.0f} ({rates[0]:.0f} to"
      f" {rates[-1]:.0f}) images/s"
    )
  start = time.perf_counter()
  rows = _order(args.rows, args.batch).rows(0, 1, [0])
  taken = time.perf_counter() - start
  drawn = 2 * args.rows * rows["id"].itemsize
  print(
    f"order of {args.rows} images: {taken:.2f} s, {drawn / 1e6:.0f} MB a member"
  )
  return 0


def _build(folder: Path, count: int) -> Path:
  """A built set of pictures in color, with noise; its folder of data."""
  source = folder / "source"
  parts = ["train/normal"] * count
  # Not read here, but no set is without them.
  parts += ["test/normal", "test/abnormal"]
  for number, part in enumerate(parts):
    (source / part).mkdir(parents=True, exist_ok=True)
    pixels = protocol.generate(3, _SIDE, number).transpose(1, 2, 0)
    Image.fromarray(pixels).save(source / part / f"{number:06}.png")
  with contextlib.redirect_stdout(io.StringIO()):  # an audit of noise
    built = build.build(
      "folder", source=source, data_dir=folder / "data", name="pictures"
    )
  return built.parents[1]


def _feeds(root: Path, workers: list[int]) -> dict[str, feeds.Feed]:
  """All feeds by their names."""
  once, anew = (
    spec.open_dataset(
      "pictures",
      root,
      image_size=_SIDE,
      channels=3,
      need=("train",),
      decoded=decoded,
    )
    .splits["train"]
    .images
    for decoded in (True, False)
  )
  return {
    **{
      f"records, {count} process(es)": stream.Stream(anew, workers=count)
      for count in workers
    },
    "array on disk": stream.Stream(once),
    "on the device": resident.Resident(once),
  }


def _order(count: int, batch: int) -> index.Order:
  return index.Order(
    (np.arange(count, dtype=np.int32),), ("train",), (0,), batch
  )


def _read(feed: Any, order: index.Order, args) -> Iterator[float]:
  """Yields seconds of some steps, after those that may have been read ahead."""
  constant = jax.device_put(feed.constant)
  take = jax.jit(lambda constant, chunk: feed.batch(constant, chunk)["image"])
  each = _AHEAD * max(args.workers) + args.steps
  bounds = [(step, step + 1) for step in range(args.repeats * each)]
  with contextlib.closing(feed.chunks(order, bounds, [0], False)) as chunks:
    for _ in range(args.repeats):
      for chunk in itertools.islice(chunks, each - args.steps):
        jax.block_until_ready(take(constant, chunk))
      start = time.perf_counter()
      for chunk in itertools.islice(chunks, args.steps):
        found = take(constant, chunk)
      jax.block_until_ready(found)
      yield time.perf_counter() - start


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.feed", description=__doc__.splitlines()[0]
  )
  for name, value, what in (
    ("images", 1024, "of the set"),
    ("batch", 64, "images of a batch"),
    ("steps", 16, "batches a turn"),
    ("rows", 10_000_000, "images of the set whose order is drawn"),
    ("repeats", 3, "turns"),
  ):
    parser.add_argument(
      f"--{name}",
      type=protocol.positive,
      default=value,
      help=f"{what} [{value}]",
    )
  parser.add_argument(
    "--workers",
    type=protocol.positive,
    nargs="+",
    default=[1, 2],
    help="processes that decode records, a feed for each number [1 2]",
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
