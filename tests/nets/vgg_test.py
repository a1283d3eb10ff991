"""VGG19 against printed numbers of the PyTorch reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import types
from medad_jax.nets import perceptual, vgg
from tests.golden import synthetic_vgg


def test_features_of_the_reference():
  x = synthetic_vgg.images(synthetic_vgg.medianomaly, (4, 1, 64, 64))
  variables = synthetic_vgg.variables(synthetic_vgg.medianomaly, 1.5)
  net = jax.jit(vgg.VGG19().apply)
  out = net(variables, perceptual.preprocess(jnp.asarray(x)))["relu4_2"]
  assert out.shape == (4, 8, 8, 512)
  np.testing.assert_allclose(out.mean(), 2.604564, rtol=5e-6)
  np.testing.assert_allclose(out.max(), 28.30263, rtol=5e-6)
  np.testing.assert_allclose(out[0, 3, 4, 7], 5.748984, rtol=5e-6)
  assert out[0, 0, 0, 0] == 0


def test_layers_are_those_of_torchvision():
  assert len(vgg.LAYERS) == 37
  assert vgg.LAYERS.index("relu4_2") == 22
  assert [vgg.LAYERS.index(f"pool{i}") for i in (1, 2, 3, 4)] == [4, 9, 18, 27]
  assert vgg.CHANNELS["conv3_1"] == 256


def test_several_layers_and_none_beyond():
  net = vgg.VGG19(layers=("pool1", "relu2_1", "relu1_2"))
  image = jnp.ones((1, 7, 9, 3))
  variables = net.init(jax.random.key(0), image)
  assert list(variables["params"]) == ["conv1_1", "conv1_2", "conv2_1"]
  out = net.apply(variables, image)
  assert {name: x.shape for name, x in out.items()} == {
    "relu1_2": (1, 7, 9, 64),
    "pool1": (1, 3, 4, 64),
    "relu2_1": (1, 3, 4, 128),
  }
  first, pooled = out["relu1_2"], out["pool1"]
  np.testing.assert_array_equal(pooled[0, 2, 3], first[0, 4:6, 6:8].max((0, 1)))


def test_initial_values():
  net = vgg.VGG19(layers=("conv1_1",))
  layer = net.init(jax.random.key(0), jnp.ones((1, 4, 4, 3)))["params"]
  kernel, bias = layer["conv1_1"]["kernel"], layer["conv1_1"]["bias"]
  np.testing.assert_allclose(kernel.std(), (2 / (9 * 64)) ** 0.5, rtol=0.05)
  assert not bias.any()


def test_a_small_image_is_one_sentence():
  with pytest.raises(types.UserError, match="images of 7x8.* 8 or more"):
    vgg.VGG19().init(jax.random.key(0), jnp.ones((1, 7, 8, 3)))
