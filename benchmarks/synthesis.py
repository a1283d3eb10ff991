"""Synthetic anomalies a second, on the device and by the published path.

  python -m benchmarks.synthesis
  python -m benchmarks.synthesis --images=64 --methods nsa pii --step

The device turns, crops, blends and labels a batch in one program. The published
path (`benchmarks/synthesis_host.py`) makes one image after the other on the
host, in one process. Both start from the same generated images in memory, and
take turns, as the machine may be shared. `--step` adds the share that synthesis
has in a training step of the encoder-decoder at that batch.
"""

import argparse
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

from benchmarks import turns
from medad_jax import losses, types
from medad_jax.augment.nsa import frame, synthesis
from medad_jax.nets import encoder_decoder

METHODS = {
  "cutpaste": synthesis.CUTPASTE,
  "fpi": synthesis.FPI,
  "pii": synthesis.PII,
  "nsa": synthesis.NSA,
}


def main(argv: list[str] | None = None) -> int:
  """Prints images a second of each method and, if asked, shares of a step."""
  args = _parse(argv)
  try:
    images = generate(args.images, args.side)
    host = _host()
    print(
      f"{args.images} images of {args.side}x{args.side} on {turns.machine()}"
    )
    print("method     device, images/s   host, images/s   device / host")
    for name in args.methods:
      compare(name, images, host, args.repeats)
    if args.step:
      print("method     step, ms   with synthesis, ms   share of synthesis, %")
      shares(args.methods, images, args.repeats)
  except types.UserError as error:
    print(f"benchmarks.synthesis: {error}", file=sys.stderr)
    return 2
  return 0


def generate(count: int, side: int) -> np.ndarray:
  """Discs with waves on black, [b f f 1] uint8; views of them have that side.

  Raises:
    UserError: no image has views of that side.
  """
  size = -(-side * 8 // 7)
  if count < 2 or frame.side_of(size) != side:
    raise types.UserError(
      f"{count} images of side {side} were asked for: give two or more, of a"
      " side such as 224"
    )
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


def compare(name: str, images: np.ndarray, host, repeats: int) -> None:
  """Prints a method's images a second: the best, and all turns' ratios."""
  recipe, count = METHODS[name], len(images)
  make = jax.jit(lambda key, x: synthetic(key, x, recipe))
  given, pictures = jnp.asarray(images), _pictures(images)
  rng = np.random.default_rng(0)
  times = turns.alternate(
    {
      "device": lambda turn: make(jax.random.key(turn), given),
      "host": lambda turn: host_batch(host, rng, pictures, recipe),
    },
    repeats,
  )
  rates = {side: count / min(taken) for side, taken in times.items()}
  gain = turns.ratio(times["host"], times["device"])
  print(f"{name:9} {rates['device']:17.1f} {rates['host']:16.1f}   {gain}")


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


def host_batch(
  host, rng: np.random.Generator, pictures: list, recipe: synthesis.Recipe
) -> tuple[np.ndarray, np.ndarray]:
  """`synthetic` by the published path."""
  made = []
  for image, other in zip(pictures, pictures[-1:] + pictures[:-1], strict=True):
    image = host.view(rng, image)
    other = image if recipe.same else host.view(rng, other)
    after, label, _ = host.synthesize(rng, image, other, recipe)
    made.append((after[..., None].astype(np.float32) / 255, label))
  return tuple(map(np.stack, zip(*made, strict=True)))


def shares(methods: list[str], images: np.ndarray, repeats: int) -> None:
  """Prints milliseconds of a step alone and after synthesis in its program."""
  given = jnp.asarray(images)
  batch = jax.jit(
    lambda x: synthetic(jax.random.key(0), x, synthesis.CUTPASTE)
  )(given)
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
          state, jax.random.key(turn), given
        ),
      },
      repeats,
    )
    best = {side: 1e3 * min(taken) for side, taken in times.items()}
    kept = turns.ratio(times["alone"], times["whole"]).median
    print(
      f"{name:9} {best['alone']:9.1f} {best['whole']:20.1f}"
      f" {100 * (1 - kept):20.1f}"
    )


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


_NET = encoder_decoder.EncoderDecoder()
_ADAM = optax.adam(1e-3)


def _state(key, image):
  variables = _NET.init(key, image, train=False)
  params = variables["params"]
  return params, variables["batch_stats"], _ADAM.init(params)


def _host():
  """The published path, which needs OpenCV."""
  try:
    from benchmarks import synthesis_host
  except ModuleNotFoundError as error:
    if error.name != "cv2":
      raise
    raise types.UserError(
      "the published path blends with OpenCV, which is not installed: run pip"
      " install opencv-python-headless"
    ) from error
  return synthesis_host


def _pictures(images):
  return [Image.fromarray(image[..., 0]) for image in images]


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.synthesis", description=__doc__.splitlines()[0]
  )
  for name, value in {"images": 64, "side": 224, "repeats": 3}.items():
    parser.add_argument(f"--{name}", type=int, default=value, help=f"[{value}]")
  parser.add_argument(
    "--methods", nargs="+", choices=METHODS, default=list(METHODS), help="[all]"
  )
  parser.add_argument(
    "--step", action="store_true", help="the share of a training step, too"
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
