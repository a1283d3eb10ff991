"""The baseline's steps are this project's: otherwise seconds mean nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import jax_side, protocol
from medad_jax import types
from medad_jax.methods import _perceptual
from medad_jax.weights import conversion, names
from tests.methods import ra_golden_test

torch = pytest.importorskip("torch")
from benchmarks import torch_methods, torch_steps  # noqa: E402

# Trained parts by their names in PyTorch's steps and here.
PARTS = {
  "ra": {"net.encoder": "encoder", "net.decoder": "decoder"},
  "piad": {
    "net": "net",
    "critic": "critic",
    "latent_critic": "latent_critic",
  },
  "fanogan": {"generator": "generator", "critic": "critic"},
  "cutpaste-2s": {"net": "net"},
}


class SmallRa(torch_steps.Ra):
  widths = (4, 8)
  latent = 3


class SmallPiad(torch_steps.Piad):
  channels = critic_channels = (4, 4, 4)
  units = (8,)
  latent = 3
  every = 1


class SmallFanogan(torch_steps.Fanogan):
  width = 4
  latent = 3


class SmallCutpaste(torch_steps.Cutpaste):
  width = 4


SMALL = {
  "ra": SmallRa,
  "piad": SmallPiad,
  "fanogan": SmallFanogan,
  "cutpaste-2s": SmallCutpaste,
}


def given(side, batch=4):
  return protocol.Protocol(
    normal=24, unlabelled=0, size=side, members=1, batch=batch, epochs=2
  )


def count(tree):
  return sum(np.prod(x.shape, dtype=int) for x in jax.tree.leaves(tree))


def place(net):
  return net


@pytest.mark.parametrize("name", PARTS)
def test_both_sides_train_the_same_nets(name):
  """As published: as many parameters, and the same optimizers."""
  side = 128 if name == "ra" else 64
  ours = jax_side.Single(name, given(side), {})
  phase = ours._phases[ours._phase]
  shape = (side, side, 3 if name == "cutpaste-2s" else 1)
  params, _ = jax.eval_shape(
    lambda key: phase.init(key, shape), jax.random.key(0)
  )
  rates = []

  def adam(params, rate, betas=(0.9, 0.999)):
    rates.append((rate, *betas))
    return torch_methods._adam(params, rate, betas)

  with torch.device("meta"):
    step = torch_steps.STEPS[name](given(side), place, adam)
  for path, part in PARTS[name].items():
    net = step
    for word in path.split("."):
      net = getattr(net, word)
    assert sum(x.numel() for x in net.parameters()) == count(params[part])
  assert step.batches == phase.inputs.batches
  method = ours.method
  optimizers = {
    "ra": lambda: [method.optimizer] * 2,
    "piad": lambda: [method.optimizer, method.critic, method.critic],
    "fanogan": lambda: [method.gan.optimizer] * 2,
    "cutpaste-2s": list,
  }[name]()
  assert rates == [(o.learning_rate, o.b1, o.b2) for o in optimizers]
  if name == "cutpaste-2s":
    (group,) = step._optimizer.param_groups
    o = method.optimizer
    found = group["lr"], group["momentum"], group["weight_decay"]
    assert found == (o.learning_rate, o.momentum, o.weight_decay)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("side", [torch_methods.Eager, torch_methods.Tuned])
def test_a_step_moves_every_part(name, side, monkeypatch):
  made = []

  def make(*args):
    made.append(SMALL[name](*args))
    return made[-1]

  monkeypatch.setitem(torch_steps.STEPS, name, make)
  options = {"training": torch_methods.Form()}
  if side is torch_methods.Eager:
    baseline = side(name, given(16), options)
  else:
    baseline = side(name, given(16), False, options)
  (part,) = baseline.parts()
  run = baseline._make(part)
  nets = [x for x in vars(made[0]).values() if isinstance(x, torch.nn.Module)]
  before = [
    {name: x.clone() for name, x in net.named_parameters()} for net in nets
  ]
  assert run(2) == 2
  for net, old in zip(nets, before, strict=True):
    for path, x in net.named_parameters():
      assert torch.isfinite(x).all(), path
      frozen = path.startswith(("layers.", "encoder."))
      still = type(net).__name__ in ("Features", "Fanogan") and frozen
      # A critic's last biases raise both means, and have no gradient.
      if x.ndim > 1:
        assert torch.equal(x, old[path]) == still, path


def test_both_turns_of_ra_are_the_same():
  """Losses of the same nets, images and draws."""
  torch.manual_seed(0)
  step = SmallRa(given(16), place, torch_methods._adam)
  state = {k: v.numpy() for k, v in step.net.state_dict().items()}
  # What no forward pass reads.
  state = {k: v for k, v in state.items() if "num_batches" not in k}
  table = names.introspective(2, 16)
  tree = jax.tree.map(jnp.asarray, conversion.to_flax(table, state))
  rng = np.random.default_rng(0)
  image = rng.uniform(-1, 1, (4, 16, 16, 1)).astype(np.float32)
  noise = rng.normal(size=(6, 4, 3)).astype(np.float32)
  method = ra_golden_test.WithNoise(widths=(4, 8), latent=3)
  batch = {"image": jnp.asarray(image), "noise": jnp.asarray(noise)[None]}
  zero = jnp.zeros((), jnp.int32)
  at = types.Context(jax.random.key(0), zero, zero, zero, types.Axis(), {}, {})
  trees = tree["params"], tree["batch_stats"]
  encoder, (_, _, code) = method.encoder_loss(*trees, batch, at, None)
  decoder, _ = method.decoder_loss(*trees, batch, at, code)
  unit = torch.from_numpy(image.transpose(0, 3, 1, 2) / 2 + 0.5)
  drawn = torch.from_numpy(noise)
  with torch.no_grad():
    loss, z = step._encode(unit, drawn)
    other = step._decode(unit, z, drawn)
  np.testing.assert_allclose(code, z.numpy(), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(encoder, loss.item(), rtol=1e-5)
  np.testing.assert_allclose(decoder, other.item(), rtol=1e-5)


@pytest.mark.parametrize("drift", [0.0, 1e-3])
def test_the_loss_of_a_critic_is_the_same(drift, monkeypatch):
  """Compare a linear critic, whose slope is the same everywhere."""
  monkeypatch.setattr(_perceptual, "_DRIFT", drift)
  rng = np.random.default_rng(0)
  weight, real, fake = (
    rng.normal(size=shape).astype(np.float32)
    for shape in ((6,), (5, 6), (5, 6))
  )
  examples = jnp.asarray(real), jnp.asarray(fake)
  ours, _ = _perceptual.criticize(lambda x: x @ weight, *examples, jnp.ones(5))
  w, *examples = map(torch.from_numpy, (weight, real, fake))
  theirs = torch_steps.criticize(lambda x: x @ w, *examples, drift)
  np.testing.assert_allclose(ours, theirs.item(), rtol=1e-5)
