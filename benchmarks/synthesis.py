"""Synthetic anomalies a second.

  python -m benchmarks.synthesis
  python -m benchmarks.synthesis --images=8 --methods nsa pii

A batch of generated images is turned, cropped, blended and labeled in one
program, as inside a training step.
"""

import argparse
import statistics
import sys

import jax
import jax.numpy as jnp

from benchmarks import turns
from benchmarks.protocol import generate, positive
from medad_jax.augment.nsa import frame, synthesis

METHODS = {
  "cutpaste": synthesis.CUTPASTE,
  "fpi": synthesis.FPI,
  "pii": synthesis.PII,
  "nsa": synthesis.NSA,
}


def main(argv: list[str] | None = None) -> int:
  """Prints images a second of each method."""
  args = _parse(argv)
  size = -(-args.side * 8 // 7)
  if args.images < 2 or frame.side_of(size) != args.side:
    print(
      f"benchmarks.synthesis: {args.images} images of side {args.side} were"
      " asked for: give two or more, of a side such as 224",
      file=sys.stderr,
    )
    return 2
  given = jnp.asarray(generate(args.images, size, seed=0))[..., None]
  print(f"{args.images} images of {args.side}x{args.side} on {turns.machine()}")
  calls = {
    name: jax.jit(lambda key, x, r=recipe: synthetic(key, x, r))
    for name, recipe in METHODS.items()
    if name in args.methods
  }
  times = turns.alternate(
    {
      name: lambda turn, make=make: make(jax.random.key(turn), given)
      for name, make in calls.items()
    },
    args.repeats,
  )
  for name, taken in times.items():
    rate = args.images / statistics.median(taken)
    print(f"{name:9} {rate:10.1f} images/s")
  return 0


def synthetic(
  key: jax.Array, images: jax.Array, recipe: synthesis.Recipe
) -> tuple[jax.Array, jax.Array]:
  """Images in [0, 1] [b t t 1] and labels [b t t], one source an image."""

  def one(key, image, other):
    views, sources, patches = jax.random.split(key, 3)
    made = synthesis.synthesize(
      patches, frame.view(views, image), frame.view(sources, other), recipe
    )
    return made.image / 255, made.label

  keys = jax.random.split(key, len(images))
  return jax.vmap(one)(keys, images, jnp.roll(images, 1, 0))


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.synthesis", description=__doc__.splitlines()[0]
  )
  for name, value in {"images": 64, "side": 224, "repeats": 3}.items():
    parser.add_argument(
      f"--{name}", type=positive, default=value, help=f"[{value}]"
    )
  parser.add_argument(
    "--methods", nargs="+", choices=METHODS, default=list(METHODS), help="[all]"
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
