"""Speed of CLAHE inside a compiled program, and of scikit-image's on the host.

  python -m benchmarks.equalization --side=128 --images=96

Milliseconds an image of `scoring.clahe`, of scikit-image's function, which
gives the same numbers, and of RA's map of an image and one reconstruction (by
random weights), for which both are equalized.
"""

import argparse
import statistics
import sys

import jax
import numpy as np

from benchmarks import protocol, turns
from medad_jax.methods import ra
from medad_jax.nets import lpips
from medad_jax.scoring import clahe


def sides(images: np.ndarray, trunk: lpips.Name):
  """Functions of the turn's number, to be timed, by name.

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
  for name, value in {"side": 128, "images": 96, "repeats": 5}.items():
    parser.add_argument(
      f"--{name}", type=protocol.positive, default=value, help=f"[{value}]"
    )
  parser.add_argument(
    "--trunk", choices=lpips.PARTS, default="squeeze", help="[squeeze]"
  )
  args = parser.parse_args(argv)
  images = protocol.generate(args.images, args.side, seed=0)[..., None]
  images = images.astype(np.float32) / 255
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
