"""Numbers that the reference printed, float64: how they are made again.

Weights, images and noise come from an integer hash of a tensor's number and
the place in it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.golden import cases, filler, layout
from tests.methods import stepping

NET = {"hidden": 1024}
close = functools.partial(np.testing.assert_allclose, rtol=3e-6, atol=1e-9)


def draw(number, *shape):
  """2u - 1 of a tensor's number, rounded to float32 as the weights are."""
  u = filler.counted_uniform(number, int(np.prod(shape)))
  value = (2 * u - 1).reshape(shape).astype(np.float32)
  return cases.doubled(value)


def images(channels=1, count=4):
  return draw(1000, count, channels, 64, 64).transpose(0, 2, 3, 1)


def filled(case):
  shapes = cases.load(case)["shapes"]
  return cases.doubled(layout.reconstruction(filler.counted(shapes)))


def descend(loss, params, stats):
  """Four losses, so three steps."""
  return stepping.descend(
    loss, {"net": params}, {"net": stats}, cases.MEDIANOMALY, 4
  )


def check(done, loss, norm, after):
  close(done.losses[0], loss)
  close(gradient_norm(done), norm)
  close(done.losses[3], after)


def gradient_norm(done):
  return global_norm(done.grads["net"])


def global_norm(grads):
  return np.sqrt(sum(float(jnp.sum(g**2)) for g in jax.tree.leaves(grads)))


def first_gradient(done):
  return done.grads["net"]["encoder"]["Conv4x4s2_0"]["kernel"][0, 0, 0, 0]
