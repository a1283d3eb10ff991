"""The baseline's nets are this project's: otherwise seconds mean nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import losses
from medad_jax.augment.noise import coarse_noise
from medad_jax.nets.autoencoder import Autoencoder
from medad_jax.nets.refine import RefineNet
from medad_jax.nets.unet import UNet
from medad_jax.scoring import discrepancy
from tests.golden import layout

torch = pytest.importorskip("torch")
from benchmarks import torch_nets  # noqa: E402
from medad_jax.mirrors import autoencoder, refine, unet  # noqa: E402

PAIRS = {
  "autoencoder": (
    lambda: autoencoder.Autoencoder(4, 3, 8, side=32),
    Autoencoder(width=4, latent=3, hidden=8),
    layout.autoencoder,
    (4, 32, 32, 1),
  ),
  "refine": (
    lambda: refine.RefineNet(2, 4),
    RefineNet(width=4),
    layout.refine_net,
    (2, 8, 8, 2),
  ),
}


@pytest.fixture(params=PAIRS)
def pair(request):
  """A net, ours, what makes its weights ours, images."""
  make, ours, convert, shape = PAIRS[request.param]
  return _random(make()), ours, convert, _images(shape)


def test_tests_are_the_same(pair):
  net, ours, convert, images = pair
  variables = _variables(*convert(_state(net)))
  found = _whole(ours.apply(variables, images, train=False))
  _close(net.eval()(_torch(images)), found)


def test_training_and_running_statistics_are_the_same(pair):
  net, ours, convert, images = pair
  variables = _variables(*convert(_state(net)))
  found, new = ours.apply(
    variables, images, train=True, mutable=["batch_stats"]
  )
  _close(net.train()(_torch(images)), _whole(found))
  _, stats = convert(_state(net))
  jax.tree.map(_near, stats, dict(new["batch_stats"]))


def test_unet_is_the_same():
  net = _random(unet.UNet(4))
  variables = _variables(*layout.reconstruction(_state(net)))
  images = _images((2, 32, 32, 1))
  _close(net(_torch(images)), UNet(4).apply(variables, images))


@pytest.mark.parametrize(
  ("net", "count"),
  [
    (autoencoder.Autoencoder, 4_487_248),
    (refine.RefineNet, 152_834),
    (unet.UNet, 31_042_369),
  ],
)
def test_published_sizes(net, count):
  with torch.device("meta"):
    assert sum(p.numel() for p in net().parameters()) == count


def test_focal_loss_is_the_same():
  logits = _images((2, 8, 8, 2))
  mask = _images((2, 8, 8)) > 0.5
  found = torch_nets.focal(_torch(logits), torch.from_numpy(np.array(mask)))
  _near(found.numpy(), np.mean(losses.focal(logits, mask)))


def test_maps_are_the_same():
  image, x_hat = _images((2, 8, 8, 1)), _images((6, 2, 8, 8, 1))
  found = torch_nets.discrepancies(
    _torch(image), torch.stack([_torch(x) for x in x_hat])
  )
  wanted = {
    "rec": discrepancy.error_map(image, x_hat[3:].mean(0), None),
    "intra": discrepancy.intra_map(x_hat[3:], None),
    "inter": discrepancy.inter_map(x_hat[:3], x_hat[3:], None),
  }
  for name, value in wanted.items():
    _near(found[name].numpy()[:, 0], value)


def test_noise_is_the_same():
  image = _images((2, 32, 32, 1))
  torch.manual_seed(0)
  found = torch_nets.coarse_noise(_torch(image), torch.tensor([5, 9]))
  torch.manual_seed(0)
  drawn = torch.randn(2, 1, 16, 16).permute(0, 2, 3, 1).numpy()
  noise = coarse_noise(0.2 * jnp.array(drawn), (32, 32), jnp.array([5, 9]))
  _close(found, image + 2 * noise - 1)


def _random(net):
  """Numbers of size one everywhere, positive where a variance stands."""
  torch.manual_seed(0)
  with torch.no_grad():
    for name, value in net.state_dict().items():
      if value.is_floating_point():
        value.add_(0.1 * torch.rand_like(value))
        assert "var" not in name or value.min() > 0
  return net


def _state(net):
  """Copies: a step in training changes the statistics in place."""
  found = net.state_dict().items()
  return {name: value.numpy().copy() for name, value in found}


def _variables(params, stats):
  return jax.tree.map(jnp.array, {"params": params, "batch_stats": stats})


def _images(shape):
  return jnp.array(np.random.default_rng(0).random(shape, np.float32))


def _torch(images):
  return torch.from_numpy(np.array(images).transpose(0, 3, 1, 2).copy())


def _whole(out):
  return out["x_hat"] if isinstance(out, dict) else out


def _close(found, wanted):
  _near(found.detach().numpy().transpose(0, 2, 3, 1), wanted)


def _near(found, wanted):
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
