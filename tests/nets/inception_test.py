"""Inception-ResNet-v2 against pretrainedmodels' net, with made-up weights."""

import json

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


def places(count):
  """Where each layer's features are among those of all."""
  ends = np.cumsum([0, *inception.CHANNELS.values()])
  bounds = zip(inception.LAYERS[:count], ends, ends[1:], strict=False)
  return {name: slice(first, last) for name, first, last in bounds}


def check(variables, layers):
  net = jax.jit(inception.InceptionResNetV2(layers).apply)
  at = places(len(inception.LAYERS))
  for image, wanted in zip(images(), GOLDEN["features"], strict=True):
    for name, found in net(variables, image).items():
      largest = np.abs(wanted[at[name]]).max()
      cases.close(found[0], wanted[at[name]], atol=3e-6 * largest, err_msg=name)


def test_the_first_layers_are_those_of_pytorch(variables):
  check(variables, inception.LAYERS[:8])


@pytest.mark.slow
def test_all_layers_are_those_of_pytorch(variables):
  check(variables, inception.LAYERS)


def test_the_net_has_the_published_size():
  net = inception.InceptionResNetV2()
  image = jnp.zeros((1, 75, 75, 3))
  made = jax.eval_shape(lambda: net.init(jax.random.key(0), image))
  counts = [x.size for x in jax.tree.leaves(made["params"])]
  assert sum(counts) == json.loads(str(GOLDEN["config"]))["params"]
  channels = jax.eval_shape(net.apply, made, image)
  assert {k: v.shape[1] for k, v in channels.items()} == inception.CHANNELS


def test_a_small_image_is_one_sentence():
  net = inception.InceptionResNetV2()
  with pytest.raises(UserError, match="74x74.*75 or more"):
    jax.eval_shape(
      lambda: net.init(jax.random.key(0), jnp.zeros((1, 74, 74, 3)))
    )
