"""Convolutions as matrix products and by XLA, for members in one program.

  python -m benchmarks.convolutions --members=3 --steps=4

Times a gradient of the first two layers of the published autoencoder and their
mirror, vmapped over members inside `lax.scan`, as training runs them, and XLA's
convolutions outside of a loop too (`--members=1` has no grouped ones).
"""

import argparse
import time

from flax import linen as nn
import jax
import jax.numpy as jnp

from medad_jax.nets import blocks


class Layers(nn.Module):
  """1 -> 16 -> 32 -> 16 -> 1 channels, 64x64 -> 16x16 -> 64x64."""

  form: blocks.Form

  @nn.compact
  def __call__(self, x):
    """The image again."""
    for features in (16, 32):
      x = nn.relu(blocks.Conv4x4s2(features, self.form)(x))
    x = nn.relu(blocks.ConvTranspose4x4s2(16, self.form)(x))
    return blocks.ConvTranspose4x4s2(1, self.form)(x)


def make_call(form: blocks.Form, members: int, steps: int, batch: int):
  """A compiled call of several steps, and its arguments."""
  net = Layers(form)
  image = jax.random.normal(jax.random.key(0), (batch, 64, 64, 1))
  keys = jax.random.split(jax.random.key(1), members)
  params = jax.vmap(lambda key: net.init(key, image))(keys)

  def step(params, _):
    def loss(params):
      return jnp.mean((net.apply(params, image) - image) ** 2)

    grads = jax.vmap(jax.grad(loss))(params)
    return jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads), None

  if steps == 1:
    return jax.jit(lambda p: step(p, None)[0]), params
  return jax.jit(lambda p: jax.lax.scan(step, p, length=steps)[0]), params


def seconds(call, params) -> float:
  """Of one call."""
  start = time.perf_counter()
  jax.block_until_ready(call(params))
  return time.perf_counter() - start


def main() -> None:
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  for name, value in {
    "members": 3,
    "steps": 4,
    "batch": 64,
    "repeats": 3,
  }.items():
    parser.add_argument(f"--{name}", type=int, default=value)
  args = parser.parse_args()
  kinds: dict[str, tuple[blocks.Form, int]] = {
    "matmul": ("matmul", args.steps),
    "lax": ("lax", args.steps),
    "lax, no loop": ("lax", 1),
  }
  calls = {
    name: make_call(form, args.members, steps, args.batch)
    for name, (form, steps) in kinds.items()
  }
  for call, params in calls.values():
    seconds(call, params)  # compiles
  times: dict[str, list[float]] = {name: [] for name in kinds}
  for _ in range(args.repeats):  # alternating: the machine may be shared
    for name, (call, params) in calls.items():
      steps = kinds[name][1] * args.members
      times[name].append(seconds(call, params) / steps)
  for name, found in times.items():
    print(f"{name:12} {1e3 * min(found):8.1f} ms a step and member")
  for name in ("matmul", "lax, no loop"):
    ratios = [b / a for a, b in zip(times[name], times["lax"], strict=True)]
    print(f"lax / {name}: {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
  main()
