"""ResNet18's size, its modes and its head; its numbers: pretrained_test."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.nets import resnet
from tests.golden import torchvision


@pytest.fixture(scope="module")
def image():
  rng = np.random.RandomState(0)
  return jnp.asarray(rng.standard_normal((2, 33, 40, 3)), jnp.float32)


@pytest.fixture(scope="module")
def variables(image):
  init = jax.jit(lambda key: resnet.ResNet18().init(key, image, train=False))
  return init(jax.random.key(0))


def test_size_and_first_values(variables):
  params = jax.tree.leaves(variables["params"])
  assert sum(leaf.size for leaf in params) == 11_176_512
  counted = [k for k in torchvision.resnet18() if "batches" not in k]
  assert len(jax.tree.leaves(variables)) == len(counted)
  kernel = variables["params"]["conv1"]["kernel"]
  assert kernel.shape == (7, 7, 3, 64)
  np.testing.assert_allclose(kernel.std(), (2 / (49 * 64)) ** 0.5, rtol=0.05)


def test_training_moves_the_running_statistics(variables, image):
  net = resnet.ResNet18()
  apply = jax.jit(
    lambda v: net.apply(v, image, train=True, mutable=["batch_stats"])
  )
  out, new = apply(variables)
  assert out.shape == (2, 512)
  assert np.isfinite(out).all()
  old = {"batch_stats": variables["batch_stats"]}
  jax.tree.map(lambda a, b: np.testing.assert_(bool((a != b).all())), old, new)


def test_a_head_adds_logits(image):
  net = resnet.ResNet18(classes=5)
  made = jax.eval_shape(
    lambda: net.init_with_output(jax.random.key(0), image, train=False)
  )
  out, variables = made
  assert out.shape == (2, 5)
  assert variables["params"]["fc"]["kernel"].shape == (512, 5)
