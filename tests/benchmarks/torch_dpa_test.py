"""The baseline's DPA is this project's: otherwise seconds mean nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import jax_side, protocol
from medad_jax.nets import perceptual, residual, vgg

torch = pytest.importorskip("torch")
from benchmarks import torch_dpa  # noqa: E402


def parameters(net):
  """Ours, from layers of the same names."""
  found = {}
  for name, value in net.state_dict().items():
    *path, last = name.split(".")
    node = found
    for part in path:
      node = node.setdefault(part, {})
    if last == "weight":
      node["kernel"] = jnp.asarray(value.numpy().transpose(2, 3, 1, 0))
    else:
      node[last] = jnp.asarray(value.numpy())
  return found


def images(side):
  return np.random.default_rng(side).uniform(-1, 1, (2, side, side, 1))


def torched(x):
  return torch.from_numpy(np.array(x, np.float32).transpose(0, 3, 1, 2).copy())


def test_the_autoencoder_is_the_same():
  torch.manual_seed(0)
  net = torch_dpa.Autoencoder(16, (3, 4, 5), 2)
  ours = residual.Autoencoder((3, 4, 5), (5, 4, 3), 2)
  image = jnp.asarray(images(16), jnp.float32)
  found = ours.apply({"params": parameters(net)}, image)["x_hat"]
  wanted = net(torched(image)).detach().numpy().transpose(0, 2, 3, 1)
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_distance_is_the_same():
  torch.manual_seed(0)
  net = torch_dpa.Features()
  params = {"params": parameters(net.layers)}
  image, x_hat = np.split(images(16).astype(np.float32), 2)
  real, found = (
    vgg.VGG19(("relu4_2",)).apply(params, perceptual.preprocess(x))["relu4_2"]
    for x in map(jnp.asarray, (image, x_hat))
  )
  plain = np.zeros(512), np.ones(512)
  ours = jnp.mean(perceptual.relative_l1(real, found, *plain))
  theirs = torch_dpa.distance(net(torched(image)), net(torched(x_hat)))
  np.testing.assert_allclose(ours, theirs.item(), rtol=1e-4)


def test_both_sides_train_the_same_net():
  given = protocol.Protocol(normal=4, unlabelled=0, size=64, batch=2)
  side = jax_side.Single("dpa", given, {})
  theirs, features = torch_dpa.build(given)
  method = side.method
  assert method.optimizer.learning_rate == torch_dpa.RATE
  assert method.layers == (list(dict(features.layers.named_children()))[-1],)
  shapes = jax.eval_shape(
    lambda key: method.init(key, (64, 64, 1)), jax.random.key(0)
  )
  ours = jax.tree.map(lambda x: x.shape, shapes[0]["net"])
  assert ours == jax.tree.map(np.shape, parameters(theirs))
