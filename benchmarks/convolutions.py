"""A race between the CPU forms of convolutions and XLA's own.

  python -m benchmarks.convolutions --members=3 --steps=4

Times two small networks at 64x64, forward and with gradients and an update:
layers of the published autoencoder (4x4, stride 2, down and up) and of the
refinement network (3x3), members vmapped or one after another in the program, a
call of one step or of several in `lax.scan`. Ratios are to what training uses:
the forms of `nets/ops/cpu`, vmapped, in a loop. When no ratio of "xla" with
gradients is above 1, that folder can go.
"""

import argparse
import itertools
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp

from benchmarks import turns
from medad_jax.nets import blocks, ops


class Way(NamedTuple):
  """A way to write a program."""

  forms: bool = True
  members: str = "vmapped"
  loop: bool = True

  def __str__(self):
    place = "in a loop" if self.loop else "alone"
    return f"{'forms' if self.forms else 'xla':6} {self.members:9} {place:9}"


class Strided(nn.Module):
  """1 -> 16 -> 32 -> 16 -> 1 channels, 64x64 -> 16x16 -> 64x64."""

  @nn.compact
  def __call__(self, x):
    """The image again."""
    for features in (16, 32):
      x = nn.relu(blocks.Conv4x4s2(features)(x))
    x = nn.relu(blocks.ConvTranspose4x4s2(16)(x))
    return blocks.ConvTranspose4x4s2(1)(x)


class Square(nn.Module):
  """1 -> 64 -> 64 -> 1 channels, all at 64x64."""

  @nn.compact
  def __call__(self, x):
    """The image again."""
    for features in (64, 64):
      x = nn.relu(blocks.Conv3x3(features)(x))
    return blocks.Conv3x3(1)(x)


NETS = {"strided": (Strided, 64), "square": (Square, 8)}  # images a step


def make_call(net: str, way: Way, gradient: bool, members: int, steps: int):
  """A compiled call, which takes no argument.

  Args:
    net: a name of `NETS`.
    way: how it is written.
    gradient: whether it learns; otherwise it only reconstructs.
    members: networks with parameters of their own, on the same images.
    steps: of a loop; a call without one takes a single step.
  """
  module, batch = NETS[net]
  model = module()
  image = jax.random.normal(jax.random.key(0), (batch, 64, 64, 1))
  keys = jax.random.split(jax.random.key(1), members)
  params = jax.vmap(lambda key: model.init(key, image))(keys)

  # An autoencoder's loss, so that gradients pass through every layer.
  def loss(params, image):
    return jnp.mean((model.apply(params, image) - image) ** 2)

  def one(params, image):
    if not gradient:
      return params, loss(params, image)
    value, grads = jax.value_and_grad(loss)(params, image)
    return jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads), value

  def step(params, image):
    # Kernels of their own make one grouped convolution of the members' ones.
    if way.members == "vmapped":
      return jax.vmap(one, (0, None))(params, image)
    parts = [
      one(jax.tree.map(lambda x, k=k: x[k], params), image)
      for k in range(members)
    ]
    return jax.tree.map(lambda *xs: jnp.stack(xs), *parts)

  # The images change from step to step: a loop could do equal work once.
  def body(carry, _):
    params, image = carry
    params, value = step(params, image)
    return (params, image + 1e-3 * jnp.mean(value)), value

  def call(carry):
    if way.loop:
      return jax.lax.scan(body, carry, length=steps)
    return body(carry, None)

  # The switch is read while the program is lowered.
  with ops.own_forms(way.forms):
    compiled = jax.jit(call).lower((params, image)).compile()
  return lambda turn: compiled((params, image + 1e-6 * turn))


def compare(net: str, gradient: bool, args: argparse.Namespace) -> None:
  """Prints milliseconds a step and member of all ways, and their ratios."""
  ways = itertools.starmap(
    Way,
    itertools.product((True, False), ("vmapped", "unrolled"), (True, False)),
  )
  if args.members == 1:  # then there is nothing to unroll
    ways = (way for way in ways if way.members == "vmapped")
  calls = {
    way: make_call(net, way, gradient, args.members, args.steps) for way in ways
  }
  times = turns.alternate(calls, args.repeats)
  each = {
    way: [t / (args.steps if way.loop else 1) / args.members for t in taken]
    for way, taken in times.items()
  }
  print(f"{net}, {'with gradients' if gradient else 'forward'}")
  for way, taken in each.items():
    print(
      f"  {way} {1e3 * min(taken):9.1f} ms  x {turns.ratio(taken, each[Way()])}"
    )


def main() -> None:
  """The command line."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.convolutions", description=__doc__.split("\n")[0]
  )
  defaults = {"members": 3, "steps": 4, "repeats": 3}
  for name, value in defaults.items():
    parser.add_argument(f"--{name}", type=int, default=value, help=f"[{value}]")
  args = parser.parse_args()
  print(turns.machine())
  print(f"{args.members} member(s): ms a step and member")
  for net in NETS:
    for gradient in (False, True):
      compare(net, gradient, args)


if __name__ == "__main__":
  main()
