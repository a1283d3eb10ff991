"""MADDR's hosts that read frozen nets, against the official code in PyTorch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.methods import _constraint, dpa, fanogan
from medad_jax.training import Optimizer
from medad_jax.weights import conversion, residual_names
from tests.golden import cases, filler, layout, perceptual
from tests.golden.cases import close
from tests.methods.maddr import (
  CONSTRAINTS,
  batch,
  check_gradients,
  check_rows,
  labels,
  norm_of,
  with_heads,
)


@pytest.mark.parametrize(
  "mode", [pytest.param("intended", marks=pytest.mark.slow), "released"]
)
def test_fanogan(mode):
  expected = cases.load("maddr_fanogan")
  shapes = {
    k: v for k, v in expected["shapes"].items() if not k.startswith("fc")
  }
  params, extra = layout.fanogan(filler.named("fanogan16", shapes))
  params, extra = jax.tree.map(jnp.asarray, (params, extra))
  gan = cases.state_of(None, None).replace(
    params={name: params[name] for name in ("generator", "critic")},
    extra={"generator": extra["generator"]},
  )
  start = with_heads(
    "fanogan16", mode, {"net": params["encoder"]}, {"net": extra["encoder"]}
  )
  method = fanogan.Method(width=16, constraint=CONSTRAINTS[mode])
  given = batch("fanogan")
  context = dataclasses.replace(cases.CONTEXT, own={"gan": gan})
  step = method.phases()[-1].step
  state = cases.state_of(None, None).replace(params=start[0], extra=start[1])
  state = state.replace(opt=step.start(state.params))

  @jax.jit
  def take(state):
    grads, _ = jax.grad(method.loss, has_aux=True)(
      state.params, state.extra, given, context
    )
    return *step(state, given, context), grads

  rows, gradients = [], []
  parts = ("error", "features", "focal_organ", "focal_modality")
  for _ in range(2):
    state, metrics, grads = take(state)
    found = [metrics[name] for name in (*parts, "center", "loss")]
    rows.append([*found, norm_of(grads)])
    gradients.append(grads["net"])
  wanted = expected[f"losses_{mode}"]
  check_rows(rows, wanted, (3e-5, 5e-4))
  case = {"shapes": {k: v for k, v in shapes.items() if k[:7] == "encoder"}}
  norms = expected[f"grad_norms_{mode}"]
  statistics = start[1]["net"]

  def convert(state):
    return tuple(tree["encoder"] for tree in layout.fanogan(state))

  check_gradients(gradients[0], statistics, case, norms, convert, 6e-5)


DPA_TABLE = {**residual_names.encoder(), **residual_names.decoder()}


def net_of(state):
  """DPA's parameters, and none that run."""
  return conversion.to_flax(DPA_TABLE, state)["params"]["net"], {}


def of_dpa(mode):
  """The method, its start, the case, and VGG19 for its context."""
  expected = cases.load("maddr_dpa")
  shapes = {
    k: v for k, v in expected["shapes"].items() if not k.startswith("fc")
  }
  net, _ = net_of(filler.named("maddr_dpa", shapes))
  method = dpa.Method(
    channels=(16, 16, 16, 32, 32, 32, 64),
    decoder_channels=(64, 32, 32, 32, 16, 16, 16),
    latent=128,
    layers=("relu3_2", "relu4_2"),
    l1_weight=0.1,
    constraint=CONSTRAINTS[mode],
    optimizer=Optimizer(learning_rate=1e-3),
  )
  own = {"features": jax.tree.map(jnp.asarray, perceptual.features())}
  start = with_heads("maddr_dpa", mode, {"net": net}, {})
  return method, *jax.tree.map(jnp.asarray, start), expected, own


@pytest.mark.parametrize(
  "mode", ["intended", pytest.param("released", marks=pytest.mark.slow)]
)
def test_dpa(mode):
  """Two plain steps, and one of mixed images."""
  method, params, extra, expected, own = of_dpa(mode)
  plain = batch()
  order, share = expected["perm"], jnp.float32(expected["lam"])
  other = {name: plain[name][order] for name in ("image", *labels([0]))}
  batches = [
    _constraint.mix(plain, other, x) for x in (jnp.ones(()),) * 2 + (share,)
  ]
  context = dataclasses.replace(cases.CONTEXT, own=own)
  step = method.phases()[-1].step
  state = cases.state_of(None, None).replace(params=params, extra=extra)
  state = state.replace(opt=step.start(state.params))
  take, rows, grads = jax.jit(lambda s, b: step(s, b, context)), [], []
  for given in batches:
    state, metrics = take(state, given)
    parts = ("focal_organ", "focal_modality", "center", "loss")
    rows.append([metrics[name] for name in parts])
    # Of Adam, which begins at 0.
    grads.append(jax.tree.map(lambda x: 10 * x, state.opt[0].mu))
  wanted = expected[f"losses_{mode}"]
  check_rows(rows, wanted[:, 2:6], (3e-5, 3e-2))
  close(norm_of(grads[0]), wanted[0, 6], rtol=1e-3)
  norms = expected[f"grad_norms_{mode}"]
  check_gradients(grads[0]["net"], {}, expected, norms, net_of, 2e-3)


def test_dpa_scores():
  method, params, extra, expected, own = of_dpa("plain")
  state = cases.state_of(None, None).replace(params=params, extra=extra)
  given = batch()

  @jax.jit
  def found(state):
    preds = method.predict({"train": state, **own}, given)
    several = jax.tree.map(lambda x: x[None], (preds, own))
    return preds, method.score(several[0], given, several[1]).image["rec"]

  preds, score = found(state)
  x_hat = cases.channels_first(preds["x_hat"])
  close(x_hat[:2], expected["eval_x_hat"], atol=5e-6)
  close(preds["latent"], expected["eval_z"].reshape(4, -1), atol=8e-6)
  close(score, expected["score"], rtol=2e-6)
  l1 = np.mean(np.abs(preds["x_hat"] - given["image"]), (1, 2, 3))
  close(l1, expected["score_l1"], rtol=2e-6)
  close(score - 0.1 * l1, expected["score_perceptual"], rtol=3e-6)
