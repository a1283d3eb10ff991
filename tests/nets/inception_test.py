"""Inception-ResNet-v2 against pretrainedmodels' net, with made-up weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import interpolation
from medad_jax.nets import inception
from medad_jax.types import UserError
from medad_jax.weights import conversion, names
from tests.golden import cases, filler

GOLDEN = cases.load("dif_features")
CASE = "dif_inceptionresnetv2"


@pytest.fixture(scope="module")
def variables():
  state = filler.named(CASE, GOLDEN["shapes"])
  found = conversion.to_flax(names.inception_resnet_v2(), state)
  return jax.tree.map(jnp.asarray, found)


def images():
  """A color and a gray picture of 299x299, in [-1, 1]."""
  given = cases.load("data_transforms")
  for name in ("deep_if_rgb32_in", "deep_if_gray64_in"):
    levels = jnp.asarray(given[name], jnp.int32)
    levels = levels.reshape(1, *levels.shape[:2], -1)
    large = interpolation.pillow_bilinear(levels, 299)
    yield jnp.broadcast_to(large / 127.5 - 1, (1, 299, 299, 3))


def test_all_layers_are_those_of_pytorch(variables):
  net = jax.jit(inception.InceptionResNetV2().apply)
  ends = np.cumsum([0, *inception.CHANNELS.values()])
  for image, wanted in zip(images(), GOLDEN["features"], strict=True):
    found = net(variables, image)
    for name, first, last in zip(
      inception.LAYERS, ends, ends[1:], strict=False
    ):
      here = wanted[first:last]
      largest = np.abs(here).max()
      cases.close(found[name][0], here, atol=3e-6 * largest, err_msg=name)


def test_a_layer_alone_is_the_same(variables):
  image = jax.random.uniform(jax.random.key(0), (1, 75, 75, 3)) * 2 - 1
  whole, one = (
    jax.jit(inception.InceptionResNetV2(layers).apply)(variables, image)
    for layers in (("conv2d_2a", "mixed_5b"), ("mixed_5b",))
  )
  assert set(one) == {"mixed_5b"}
  cases.close(one["mixed_5b"], whole["mixed_5b"], rtol=1e-5, atol=1e-6)


def test_the_net_has_the_published_size():
  net = inception.InceptionResNetV2()
  image = jnp.zeros((1, 75, 75, 3))
  made = jax.eval_shape(lambda: net.init(jax.random.key(0), image))
  counts = [x.size for x in jax.tree.leaves(made["params"])]
  assert sum(counts) == GOLDEN["config"]["params"]
  channels = jax.eval_shape(net.apply, made, image)
  assert {k: v.shape[1] for k, v in channels.items()} == inception.CHANNELS


def test_a_small_image_is_one_sentence():
  net = inception.InceptionResNetV2()
  with pytest.raises(UserError, match="74x74.*75 or more"):
    jax.eval_shape(
      lambda: net.init(jax.random.key(0), jnp.zeros((1, 74, 74, 3)))
    )
