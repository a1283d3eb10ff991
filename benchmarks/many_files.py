"""Memory that reading a folder takes, by the number of its images.

`python -m benchmarks.many_files 1000 50000` reads folders of so many files,
each in a process of its own, and prints the largest anonymous memory: what the
system cannot drop, as it can pages of the array's file. The files are links to
400 images. Linux alone.
"""

import argparse
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
from PIL import Image

from medad_jax.data import decode, folder, manifest

_DISTINCT = 400  # images that the files are links to
_EVERY = 0.1  # seconds between two looks at the memory


def make(root: Path, count: int) -> None:
  """Fills a folder with that many files of 128x128 pixels."""
  draws = np.random.RandomState(0)
  sources = root / "sources"
  sources.mkdir(parents=True)
  for k in range(_DISTINCT):
    coarse = draws.randint(0, 256, (16, 16)).astype(np.uint8)
    Image.fromarray(coarse).resize((128, 128)).save(sources / f"{k}.png")
  for k in range(count):
    part = root / "images" / f"{k // 1000:04d}"
    part.mkdir(parents=True, exist_ok=True)
    os.link(sources / f"{k % _DISTINCT}.png", part / f"{k:07d}.png")


def measure(root: Path) -> str:
  """Reads the folder's images, and says what it took."""
  seen, done = [_anonymous()], threading.Event()

  def watch():
    while not done.wait(_EVERY):
      seen.append(_anonymous())

  threading.Thread(target=watch, daemon=True).start()
  start = time.process_time()
  entries = manifest.of_folders(root / "images", None)
  found = folder.open_folder(
    root / "images", entries, str(root / "data"), decode.Frame(224, 1)
  )
  done.set()
  images = found.splits["train"].images
  return (
    f"{len(images):,} images, an array of {images.nbytes / 1e6:,.0f} MB:"
    f" {max(seen):.0f} MB of memory ({seen[0]:.0f} before),"
    f" {time.process_time() - start:.0f} s of CPU"
  )


def _anonymous() -> float:
  status = Path("/proc/self/status").read_text()
  return int(status.split("RssAnon:")[1].split()[0]) / 1e3


def main(argv: list[str] | None = None) -> int:
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("counts", type=int, nargs="+")
  parser.add_argument("--root", type=Path, help="Of a folder that is made.")
  args = parser.parse_args(argv)
  if args.root is not None:
    print(measure(args.root), flush=True)
    return 0
  for count in args.counts:
    with tempfile.TemporaryDirectory() as root:
      make(Path(root), count)
      # Memory that a process has given back may still count as its own.
      command = [sys.executable, "-m", "benchmarks.many_files", str(count)]
      subprocess.run([*command, f"--root={root}"], check=True)
  return 0


if __name__ == "__main__":
  sys.exit(main())
