"""Patch features, and every backbone's layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.nets import backbones, resnet
from medad_jax.types import UserError
from tests.golden import cases, filler


def test_patches_are_those_of_the_reference():
  layers = [
    cases.channels_last(filler.named_images("patch/a", (2, 6, 8, 8))),
    cases.channels_last(filler.named_images("patch/b", (2, 10, 4, 4))),
  ]
  wanted = cases.load("features_lite0")["patches_f64"]
  np.testing.assert_allclose(backbones.patches(layers), wanted, atol=1e-6)


# Transformers take other sides, and have tests of their own.
@pytest.mark.parametrize(
  "name", sorted(set(backbones.BACKBONES) - {"dinov2_base", "rad_dino"})
)
def test_usual_layers_have_the_shapes_of_patches(name):
  backbone = backbones.BACKBONES[name]
  layers = (*backbone.patches, backbone.pooled)
  image = backbone.preprocess(jnp.zeros((2, 64, 64, 1)))
  found = jax.eval_shape(
    lambda: backbone.module(layers).init_with_output(jax.random.key(0), image)
  )[0]
  assert set(found) == set(layers)
  assert [found[k].shape[1:3] for k in layers] == [(8, 8), (4, 4), (2, 2)]
  with pytest.raises(UserError, match="no layer block99; choose among"):
    backbone.check(("block99", layers[0]))


def test_gray_levels_are_normalized_as_in_training():
  image = jnp.asarray([127.0, 255.0]).reshape(1, 1, 2, 1) / 127.5 - 1
  lite = backbones.BACKBONES["efficientnet_lite0"].preprocess(image)
  np.testing.assert_allclose(lite[0, 0, :, 2], [0, 1], atol=1e-6)
  other = backbones.BACKBONES["vgg19"].preprocess(image)
  np.testing.assert_allclose(other[0, 0, 1, 2], (1 - 0.406) / 0.225, rtol=1e-6)


def test_resnet18s_last_layer_is_the_one_it_averages():
  image = jnp.asarray(np.random.RandomState(0).rand(1, 64, 64, 3), jnp.float32)
  net = resnet.ResNet18()
  variables = jax.jit(lambda: net.init(jax.random.key(0), image, train=False))()
  last = resnet.ResNet18Layers().apply(variables, image)["layer4"]
  pooled = net.apply(variables, image, train=False)
  np.testing.assert_allclose(last.mean((1, 2)), pooled, rtol=1e-5, atol=1e-6)
