"""Synthetic anomalies a second, and their share of a training step.

  python -m benchmarks.synthesis
  python -m benchmarks.synthesis --images=8 --methods nsa pii --step

A batch of generated images is turned, cropped, blended and labelled in one
program. `--step` adds the share that this has in a training step of the
encoder-decoder at that batch; both programs take turns.
"""

import argparse
import statistics
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import turns
from benchmarks.protocol import positive
from medad_jax import losses
from medad_jax.augment import frame, synthesis
from medad_jax.nets import encoder_decoder

METHODS = {
  "cutpaste": synthesis.CUTPASTE,
  "fpi": synthesis.FPI,
  "pii": synthesis.PII,
  "nsa": synthesis.NSA,
}
_NET = encoder_decoder.EncoderDecoder()
_ADAM = optax.adam(1e-3)


def main(argv: list[str] | None = None) -> int:
  """Prints images a second of each method and, if asked, shares of a step."""
  args = _parse(argv)
  size = -(-args.side * 8 // 7)
  if args.images < 2 or frame.side_of(size) != args.side:
    print(
      f"benchmarks.synthesis: {args.images} images of side {args.side} were"
      " asked for: give two or more, of a side such as 224",
      file=sys.stderr,
    )
    return 2
  given = jnp.asarray(generate(args.images, size))
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
  if args.step:
    shares(args.methods, given, args.repeats)
  return 0


def generate(count: int, size: int) -> np.ndarray:
  """Discs with waves on black, uint8 [count size size 1]."""
  rng = np.random.default_rng(0)
  place = np.arange(size) / size
  distance = np.hypot(place[:, None] - 0.5, place - 0.5)
  waves, phases = rng.uniform(4, 12, (2, count)), rng.uniform(0, 7, (2, count))
  rows, columns = (
    np.sin(2 * np.pi * wave[:, None] * place + phase[:, None])
    for wave, phase in zip(waves, phases, strict=True)
  )
  levels = 128 + 60 * rows[:, :, None] * columns[:, None, :]
  levels *= distance < rng.uniform(0.3, 0.45, (count, 1, 1))
  return levels.astype(np.uint8)[..., None]


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


def shares(methods: list[str], images: jax.Array, repeats: int) -> None:
  """Prints milliseconds of a step alone and after synthesis in its program."""
  print("method     step, ms   with synthesis, ms   share of synthesis, %")
  batch = jax.jit(lambda x: synthetic(jax.random.key(0), x, METHODS["fpi"]))(
    images
  )
  state = jax.jit(_state)(jax.random.key(0), batch[0])
  plain = jax.jit(step)
  for name in methods:
    whole = jax.jit(
      lambda state, key, x, recipe=METHODS[name]: step(
        state, *synthetic(key, x, recipe)
      )
    )
    times = turns.alternate(
      {
        "alone": lambda turn: plain(state, *batch),
        "whole": lambda turn, call=whole: call(
          state, jax.random.key(turn), images
        ),
      },
      repeats,
    )
    alone, both = (1e3 * statistics.median(t) for t in times.values())
    kept = turns.ratio(times["alone"], times["whole"]).median
    print(f"{name:9} {alone:9.1f} {both:20.1f} {100 * (1 - kept):20.1f}")


def step(state, image: jax.Array, label: jax.Array):
  """One step of Adam on images and labels."""
  params, stats, opt = state

  def loss(params):
    logits, new = _NET.apply(
      {"params": params, "batch_stats": stats},
      image,
      train=True,
      mutable=["batch_stats"],
    )
    value = jnp.mean(losses.binary_cross_entropy(logits, label))
    return value, new["batch_stats"]

  grads, stats = jax.grad(loss, has_aux=True)(params)
  updates, opt = _ADAM.update(grads, opt)
  return optax.apply_updates(params, updates), stats, opt


def _state(key, image):
  variables = _NET.init(key, image, train=False)
  params = variables["params"]
  return params, variables["batch_stats"], _ADAM.init(params)


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
  parser.add_argument(
    "--step", action="store_true", help="the share of a training step, too"
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
