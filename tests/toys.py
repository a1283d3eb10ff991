"""Small stages of kinds that need more of the engine than one loss.

Two linear parts that move in turn or as a critic and its opponent, the mean of
their codes, and a mean image that grows. Batches are of four
images and hold noise by the example.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax import rng, steps
from medad_jax.training import Length, Optimizer
from medad_jax.types import NORMAL, Fit, Inputs, Phase

FAST, SLOW = Optimizer(learning_rate=0.05), Optimizer("sgd", 0.01)
LENGTH = Length(steps=5, batch_size=4)
MEMBERS = (NORMAL,) * 2


def init(key, shape):
  """Two small linear parts, drawn."""
  height, width, _ = shape
  drawn = jax.random.normal(key, (2, height * width, 3)) / 8
  return {"enc": drawn[0], "dec": drawn[1].T}, {"seen": jnp.zeros(())}


def x_of(batch):
  return batch["image"].reshape(len(batch["image"]), -1)


def noise(batch, context):
  """Drawn by the example, so that devices do not change it."""
  keys = rng.per_example(rng.stream(context.key, "noise"), batch["slot"])
  return jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys)


def encode(params, extra, batch, context, handed):
  del handed
  code = x_of(batch) @ params["enc"] + 0.1 * noise(batch, context)
  loss = jnp.mean((code @ params["dec"] - x_of(batch)) ** 2)
  extra = {"seen": extra["seen"] + context.axis.mean(jnp.mean(code))}
  return loss, (extra, {"code": jnp.mean(code)}, None)


def decode(params, extra, batch, context, handed):
  del context, handed
  code = x_of(batch) @ params["enc"]
  loss = jnp.mean(jnp.abs(code @ params["dec"] - x_of(batch)))
  return loss, (extra, {}, None)


TURNS = (
  steps.Turn("enc", encode, FAST),
  steps.Turn("dec", decode, SLOW),
)


def alternate(turns=TURNS):
  """Two parts, each with an optimizer and a rate of its own."""
  return Phase("toy", LENGTH, MEMBERS, init, steps.Alternate(turns))


def fitted():
  """Two parts, and the mean of their codes in closed form."""

  def codes(own, batch):
    return x_of(batch) @ own["toy"].params["enc"]

  def mean(batches):
    return {"mean": np.concatenate(list(batches)).mean(0)}

  return alternate(), Fit("mean", MEMBERS, codes, mean, reads=("toy",))


def critic():
  """Two fresh batches for one part, then one for the other."""
  step = steps.Critic(TURNS[:1], TURNS[1:], batches=2)
  inputs = Inputs(batches=3)
  return Phase("toy", LENGTH, MEMBERS, init, step, inputs=inputs)


def growing():
  """A mean image of 8x8, then one of 16x16 that starts from it."""

  def loss(params, extra, batch, context):
    side = params["mean"].shape[0]
    image = batch["image"][..., 0]
    small = jax.image.resize(image, (len(image), side, side), "linear")
    return jnp.mean((params["mean"] - small) ** 2), (extra, {})

  def start(side):
    def init(key, shape):
      return {"mean": jax.random.normal(key, (side, side))}, {}

    return init

  def graft(params, extra, own):
    small = own["stab8"].params["mean"]
    return {"mean": jax.image.resize(small, (16, 16), "nearest")}, extra

  step = steps.Descend(loss, FAST)
  length = Length(steps=4, batch_size=4)
  first = Phase("stab8", length, MEMBERS, start(8), step)
  second = dataclasses.replace(
    first, name="trns16", init=start(16), inherit=graft, reads=("stab8",)
  )
  return first, second


# By the names that the contract test uses.
STAGES = {
  "toy_alternate": lambda: (alternate(),),
  "toy_fitted": fitted,
  "toy_critic": lambda: (critic(),),
  "toy_growing": growing,
}
