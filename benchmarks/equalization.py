"""Speed of CLAHE inside a compiled program, and of scikit-image's on the host.

  python -m benchmarks.equalization --side=128 --images=96

Milliseconds an image of `scoring.clahe`, of scikit-image's function, which
gives the same numbers, and of the rest of RA's map (LPIPS and smoothing, by
random weights, of one reconstruction an image). RA's map equalizes an image and
every draw of its reconstruction.
"""

import argparse
import statistics
import sys

import jax
import numpy as np

from benchmarks import turns
from benchmarks.protocol import positive
from medad_jax.methods import ra
from medad_jax.nets import lpips
from medad_jax.scoring import clahe


def sides(images: np.ndarray, trunk: lpips.Name):
  """What is timed by name, functions of the turn's number.

  Args:
    images: in [0, 1], [n h w 1] float32.
    trunk: of LPIPS.
  """
  from skimage import exposure

  placed, flat = jax.device_put(images), images[..., 0]
  ours = jax.jit(clahe.equalize)
  nets = lpips.init(trunk, jax.random.key(0))
  method = ra.Method(perceptual=trunk, weights="random")
  whole = jax.jit(method.anomaly_map)
  return {
    "clahe": lambda _: ours(placed[..., 0]),
    "scikit-image": lambda _: [exposure.equalize_adapthist(x) for x in flat],
    "RA's map": lambda _: whole(nets, placed, placed[:, None, ::-1]),
  }


def main(argv: list[str] | None = None) -> int:
  """Prints milliseconds an image."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.equalization",
    description=__doc__.splitlines()[0],
  )
  parser.add_argument("--side", type=positive, default=128, help="[128]")
  parser.add_argument("--images", type=positive, default=96, help="[96]")
  parser.add_argument("--repeats", type=positive, default=5, help="[5]")
  parser.add_argument(
    "--trunk", choices=lpips.PARTS, default="squeeze", help="[squeeze]"
  )
  args = parser.parse_args(argv)
  shape = (args.images, args.side, args.side, 1)
  images = np.random.RandomState(0).uniform(0, 1, shape).astype(np.float32)
  times = turns.alternate(sides(images, args.trunk), args.repeats)
  rows = [
    (
      name,
      f"{1e3 * statistics.median(taken) / args.images:.2f}",
      turns.ratio(taken, times["clahe"]),
    )
    for name, taken in times.items()
  ]
  print(turns.machine())
  print(turns.table(("", "ms an image", "times clahe"), rows))
  return 0


if __name__ == "__main__":
  sys.exit(main())
