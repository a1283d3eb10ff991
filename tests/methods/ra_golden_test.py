"""RA against numbers of the reference's own trainer and evaluator."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import types
from medad_jax.methods import ra
from medad_jax.nets import introspective, ops
from medad_jax.training import Optimizer
from medad_jax.weights import conversion, names
from tests.golden import cases, filler
from tests.golden.cases import close
from tests.methods import stepping
from tests.nets import lpips_test

SMALL = {"widths": (8, 16, 32, 32), "projected": False}
# The trainer's names of what a step reports.
METRICS = {
  "emb": "embedding",
  "kl_real": "divergence",
  "exp_rec": "near_rec",
  "exp_fake": "near_fake",
  "loss_E": "encoder_loss",
  "sse_D": "error",
  "kl_rec_D": "divergence_rec",
  "kl_fake_D": "divergence_fake",
  "sse_rec_rec_D": "error_rec",
  "sse_rec_fake_D": "error_fake",
  "loss_D": "decoder_loss",
}


class WithNoise(ra.Method):
  """RA whose draws [steps 6 b z] come with the batch."""

  def noise(self, batch, context):
    return batch["noise"][context.step]


class Case:
  """A stored case: start, images and numbers."""

  def __init__(self, name: str, filled: str, images: str, shape, **fields):
    self.stored = cases.load(name)
    self.shapes = cases.load(filled)["shapes"]
    self.method = WithNoise(**fields)
    levels = len(self.method.widths)
    self.table = names.introspective(levels, shape[-1])
    variables = conversion.to_flax(
      self.table, filler.named(filled, self.shapes)
    )
    self.params, self.filled = variables["params"], variables["batch_stats"]
    # Already in [-1, 1], as a method's images are.
    self.image = cases.channels_last(filler.named_images(images, shape))
    draws = [
      cases.normal(f"{name}/noise{k}", (shape[0], 128)) for k in range(18)
    ]
    self.noise = np.reshape(draws, (3, 6, shape[0], 128)).astype(np.float32)

  @property
  def frozen(self):
    """Statistics that the reference never changes."""

    def change(path, value):
      mean, part = path[-1].key == "mean", path[0].key
      return np.full_like(
        value, 0 if mean else {"encoder": 0.9, "decoder": 1}[part]
      )

    return jax.tree_util.tree_map_with_path(change, self.filled)

  def view(self, params, extra, noise, kind=jnp.float32) -> Any:
    """Predictions for the images, from one draw."""
    params, extra, image = jax.tree.map(
      lambda x: jnp.asarray(x, kind), (params, extra, self.image)
    )
    state = cases.state_of({}, {}).replace(params=params, extra=extra)

    @jax.jit
    def see(state, image, noise):
      return self.method._reconstructed(state, image, noise[None])

    return see(state, image, jnp.asarray(noise, kind))

  def descend(self, kind, extra) -> stepping.Descent:
    method = dataclasses.replace(
      self.method, optimizer=Optimizer(learning_rate=float(self.stored["lr"]))
    )
    params, extra, image, noise = jax.tree.map(
      lambda x: jnp.asarray(x, kind),
      (self.params, extra, self.image, self.noise),
    )
    batch = {**cases.batch_of(image), "noise": noise}
    stepper = stepping.Stepper(method.phases()[-1], kind == "float64")
    # The CPU's forms take four times as long to compile.
    with ops.own_forms(False):
      return stepper.descend(params, extra, batch, 3)

  def check_losses(self, done, suffix, first, later):
    columns = self.stored["loss_names"]
    for theirs, ours in METRICS.items():
      wanted = self.stored[f"losses{suffix}"][:, columns.index(theirs)]
      found = [row[ours] for row in done.metrics]
      close(found[0], wanted[0], rtol=first, err_msg=theirs)
      close(found[1:], wanted[1:], rtol=later, err_msg=theirs)

  def check_gradients(self, done, suffix, rtol):
    flat = conversion.to_torch(
      self.table, {"params": done.grads, "batch_stats": self.filled}
    )
    for key, norm in self.stored[f"grad_norms{suffix}"].items():
      close(np.linalg.norm(flat[key]), norm, rtol=rtol, err_msg=key)


@pytest.fixture(scope="module")
def small():
  return Case("ra_small", "ra_small", "ra_small", (4, 1, 64, 64), **SMALL)


ZERO = np.zeros((1, 128), np.float32)


def mean_and_image(out):
  return out["latent"], cases.channels_first(out["x_hat"][:, 0])


def test_small_net(small):
  out = small.view(small.params, small.frozen, ZERO)
  mean, x_hat = mean_and_image(out)
  close(mean, small.stored["eval_mu"], atol=2e-6)
  close(x_hat[:2], small.stored["eval_x_hat"], atol=2e-6)


@pytest.mark.parametrize(
  ("kind", "batch_norm", "first", "later", "norms"),
  [
    ("float64", "frozen", 2e-6, 3e-5, 4e-6),
    pytest.param(
      *("float32", "frozen", 3e-6, 4.5e-5, 6e-6), marks=pytest.mark.slow
    ),
    pytest.param(
      *("float64", "batch", 2e-6, 9e-4, 6e-5), marks=pytest.mark.slow
    ),
    # The exponential of -9.9 has ten times its exponent's rounding.
    ("float32", "batch", 1e-5, 1.3e-3, 9e-5),
  ],
)
def test_three_steps_of_the_small_net(
  small, kind, batch_norm, first, later, norms
):
  small.method = dataclasses.replace(small.method, batch_norm=batch_norm)
  suffix = {"frozen": "", "batch": "_batchnorm"}[batch_norm]
  with jax.enable_x64(kind == "float64"):
    done = small.descend(kind, small.frozen)
    small.check_losses(done, suffix, first, later)
    small.check_gradients(done, suffix, norms)
    if batch_norm == "frozen":
      jax.tree.map(np.testing.assert_array_equal, done.extra, small.frozen)
    out = small.view(done.params, done.extra, ZERO, kind)
  mean, x_hat = mean_and_image(out)
  atol = {"frozen": 3e-6, "batch": 2.4e-4}[batch_norm]
  close(mean, small.stored[f"after_mu{suffix}"], atol=atol)
  close(x_hat[:1], small.stored[f"after_x_hat{suffix}"], atol=atol)


@pytest.fixture(scope="module")
def real():
  """The published size, from the same start as `ra_step`."""
  return Case("ra_net", "ra_net", "ra", (2, 1, 128, 128))


@pytest.mark.parametrize("statistics", ["eval", "frozen"])
def test_the_net_of_published_size(real, statistics):
  extra = real.filled if statistics == "eval" else real.frozen
  stored = {
    key.removeprefix(f"{statistics}_"): value
    for key, value in real.stored.items()
  }

  @jax.jit
  def see(params, extra, image, noise):
    nets = ra._Nets(
      real.method, params, extra, image.shape, types.Axis(), train=False
    )
    (code,) = nets.encode((image + 1) / 2)
    z = introspective.sampled(code, noise)
    x_hat, sampled = nets.decode(code[0], z)
    numbers = (
      introspective.divergence(code),
      ra._error(sampled, (image + 1) / 2),
    )
    return code, z, x_hat, sampled, numbers

  noise = cases.normal("ra/noise0", (2, 128))
  with ops.own_forms(False):
    code, z, x_hat, sampled, (divergence, error) = see(
      real.params, extra, real.image, jnp.asarray(noise, jnp.float32)
    )
  for name, value in (("mu", code[0]), ("logvar", code[1]), ("z", z)):
    close(value, stored[name], atol=1.2e-5, err_msg=name)
  x_hat, sampled = map(cases.channels_first, (x_hat, sampled))
  close(x_hat[: len(stored["x_hat"])], stored["x_hat"], atol=1.2e-5)
  close(sampled[:, :, ::4, ::4], stored["x_hat_sampled"], atol=1.2e-5)
  close(divergence, stored["kl"], atol=3e-5)
  close(error, stored["sse"], atol=2e-3)
  for level, embedding in enumerate(code[2], 1):
    e = cases.channels_first(embedding)
    by, to = (max(1, e.shape[1] // 16), max(1, e.shape[2] // 4))
    wanted = stored[f"embedding{level}"]
    close(e[:, ::by, ::to, ::to], wanted, atol=1.2e-5, err_msg=str(level))


def test_a_net_without_more_projections_than_needed():
  stored = cases.load("ra_net")
  table = names.introspective()
  shapes = stored["literal_shapes"]
  variables = conversion.to_flax(table, filler.named("ra_literal", shapes))
  method = ra.Method(projected=False)
  made = jax.eval_shape(
    lambda: method.init(jax.random.key(0), (128, 128, 1))[0]
  )
  assert jax.tree.map(np.shape, variables["params"]) == jax.tree.map(
    np.shape, made
  )
  sizes = [np.prod(x.shape) for x in jax.tree.leaves(made)]
  assert sum(sizes) == 29_430_785


def test_the_published_net_has_the_published_size():
  params, _ = jax.eval_shape(
    lambda: ra.Method().init(jax.random.key(0), (128, 128, 1))
  )
  assert sum(np.prod(x.shape) for x in jax.tree.leaves(params)) == 29_955_073
  _, extra = ra.Method(widths=(4, 8)).init(jax.random.key(0), (32, 32, 1))
  for part, wanted in (("encoder", 0.9), ("decoder", 1.0)):
    for path, value in jax.tree_util.tree_leaves_with_path(extra[part]):
      expected = wanted if path[-1].key == "var" else 0
      close(value, np.full(value.shape, expected), rtol=1e-7)


@pytest.mark.slow
def test_three_steps_of_published_size():
  case = Case("ra_step", "ra_net", "ra", (2, 1, 128, 128))
  done = case.descend("float32", case.frozen)
  case.check_losses(done, "", 1e-4, 2e-3)
  case.check_gradients(done, "", 9e-5)
  out = case.view(done.params, done.extra, ZERO)
  mean, x_hat = mean_and_image(out)
  close(mean, case.stored["after_mu"], atol=3e-2)
  close(x_hat[:, :, ::2, ::2], case.stored["after_x_hat"], atol=3.6e-3)


def test_the_map_of_the_reference():
  """One image's map, with made-up weights of LPIPS."""
  stored = cases.load("ra_map")
  image, x_hat = lpips_test.pair_of_map()
  nets = lpips_test.parameters("squeeze")
  method = ra.Method(weights="random")
  found = jax.jit(method.anomaly_map)(nets, image, x_hat[:, None])[:, 0]
  # Equalization rounds to whole levels, so that single pixels may differ.
  apart = np.abs(found[0] - stored["map"][0])
  assert np.mean(apart > 1e-6) < 1e-3 and apart.max() < 1e-3
  close(found.mean((1, 2)), stored["map_mean"], rtol=1e-5)
  close(found.mean((1, 2)), stored["score"], rtol=1e-5)
  close(found.max((1, 2)), stored["map_max"], rtol=1e-4)
  np.testing.assert_array_equal((found > 0.009).sum((1, 2)), stored["above"])
