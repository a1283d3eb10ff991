"""The autoencoder: sizes, first values, and a batch split over devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import types
from medad_jax.methods import ae, aeu, memae
from medad_jax.nets.autoencoder import Autoencoder


@pytest.mark.parametrize(
  ("method", "count"),
  [
    (ae.Method(), 4_487_248),
    (aeu.Method(), 4_487_504),
    (memae.Method(), 4_487_648),
    (ae.Method(hidden=1024), 2_351_184),
  ],
)
def test_parameter_counts(method, count):
  params, extra = jax.eval_shape(
    lambda: method.init(jax.random.key(0), (64, 64, 1))
  )
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
  buffers = sum(leaf.size for leaf in jax.tree.leaves(extra))
  assert buffers == (8_768 if method.hidden == 2048 else 4_672)


def test_first_values_have_the_published_bounds():
  init = functools.partial(aeu.Method().init, image_shape=(64, 64, 1))
  params, stats = jax.jit(init)(jax.random.key(0))
  encoder, decoder = params["net"]["encoder"], params["net"]["decoder"]
  bounds = {f"Conv4x4s2_{i}": b for i, b in enumerate((1, 4, 32**0.5, 8))}
  bounds |= {"Dense_0": 8, "Dense_1": 2048**0.5 / 4}
  _check_bounds(encoder, {k: 0.25 / b for k, b in bounds.items()})
  bounds = dict(zip(range(4), (32, 512**0.5, 16, 32**0.5), strict=True))
  bounds = {f"ConvTranspose4x4s2_{i}": 1 / b for i, b in bounds.items()}
  _check_bounds(decoder, bounds | {"Dense_0": 0.25, "Dense_1": 2048**-0.5})
  for leaf in jax.tree.leaves(stats["net"]["encoder"]["BatchNorm_0"]):
    assert np.unique(leaf).size == 1


def test_sides_that_cannot_be_halved_four_times():
  with pytest.raises(types.UserError, match="40x32"):
    jax.eval_shape(
      lambda: ae.Method().init(jax.random.key(0), (40, 32, 1)),
    )


def test_a_split_batch_trains_as_the_whole():
  image = jnp.asarray(np.random.RandomState(0).standard_normal((8, 16, 16, 1)))
  method = ae.Method(width=2, latent=3, hidden=5)
  init = functools.partial(method.init, image_shape=(16, 16, 1))
  params, extra = jax.jit(init)(jax.random.key(0))

  def step(axis, image):
    b = image.shape[0]
    batch = types.Batch(
      image=image,
      label=jnp.zeros(b, jnp.int32),
      valid=jnp.ones(b, bool),
      slot=jnp.arange(b),
      id=jnp.arange(b),
    )
    zero = jnp.zeros((), jnp.int32)
    context = types.Context(jax.random.key(0), zero, zero + 1, zero + 1, axis)
    grad = jax.grad(method.loss, has_aux=True)
    grads, (new, _) = grad(params, extra, batch, context)
    return axis.mean(grads), new

  whole = jax.jit(functools.partial(step, types.Axis()))(image)
  split = jax.vmap(
    functools.partial(step, types.Axis("batch", 4)), axis_name="batch"
  )
  split = jax.jit(split)(image.reshape(4, 2, 16, 16, 1))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b[3], rtol=1e-3, atol=1e-6),
    whole,
    split,
  )


def test_images_need_not_be_square_or_gray():
  net = Autoencoder(width=2, latent=3, hidden=5, variance=True)
  image = jnp.zeros((2, 16, 32, 3))
  out, _ = jax.eval_shape(
    lambda: net.init_with_output(jax.random.key(0), image, train=False)
  )
  assert out["x_hat"].shape == out["log_var"].shape == image.shape


def _check_bounds(params, bounds):
  for layer, bound in bounds.items():
    for value in params[layer].values():
      assert np.abs(value).max() <= bound, layer
    kernel = np.abs(params[layer]["kernel"]).max()
    assert kernel > 0.97 * bound, layer
