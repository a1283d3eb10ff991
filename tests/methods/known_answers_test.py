"""DDAD-ASR against printed numbers of the PyTorch reference, float64.

Weights come from the hash filler; the images are
x[b, h, w] = sin(0.1 h + 0.5 b) cos(0.15 w).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import losses, types
from medad_jax.methods import ae, aeu, ddad, memae
from medad_jax.nets.refine import RefineNet
from tests.golden import cases, filler, layout
from tests.methods import published, stepping

AE, AEU = ae.Method(), aeu.Method()
MEMAE, SHRINK = memae.Method(), memae.Method(threshold=0.04)
SHAPES = {
  AE: "ddad_ae",
  AEU: "ddad_aeu",
  MEMAE: "ddad_memae",
  SHRINK: "ddad_memae",
}


@pytest.fixture(autouse=True)
def double():
  """Every test of this file computes in float64."""
  with jax.enable_x64(True):
    yield


@functools.cache
def shapes(method):
  """The shapes of a method's `state_dict`."""
  return cases.load(SHAPES[method])["shapes"]


def images():
  """Four images in our layout."""
  b, h, w = np.ogrid[:4, :64, :64]
  x = np.sin(0.1 * h + 0.5 * b) * np.cos(0.15 * w)
  return jnp.asarray(x[..., None])


def net_outputs(method):
  """What the filled net gives for `images()`, in evaluation."""
  params, stats = layout.autoencoder(filler.hashed(shapes(method)))
  variables = {"params": params, "batch_stats": stats}
  apply = functools.partial(method.net(types.Axis()).apply, train=False)
  return jax.tree.map(np.asarray, jax.jit(apply)(variables, images()))


def test_ae():
  out = net_outputs(AE)
  x_hat = out["x_hat"][..., 0]
  _close(x_hat.mean(), -0.033382529)
  _close(x_hat.std(), 0.648567315)
  _close(x_hat[0, 0, 0], 0.150936751)
  _close(x_hat[1, 31, 17], 0.509371423)
  _close(x_hat[3, 63, 63], -0.0828745922)
  _close(out["latent"][0, :3], [-0.217602194, 0.034108655, 0.0130037353])
  error = losses.squared_error(jnp.asarray(out["x_hat"]), images())
  _close(error.mean(), 0.687946033)


def test_ae_steps():
  values, (params, stats) = _descend(AE)
  _close(values, [4.27254407, 3.75581806, 3.10345578])
  encoder = stats["encoder"]
  _close(encoder["BatchNorm_4"]["var"].mean(), 0.839265936)
  _close(encoder["BatchNorm_0"]["var"].mean(), 0.827659061)
  out = _evaluate(AE, params, stats)
  _close(losses.squared_error(out["x_hat"], images()).mean(), 0.441550924)


def test_aeu():
  out = net_outputs(AEU)
  x_hat, log_var = out["x_hat"][..., 0], out["log_var"][..., 0]
  _close(x_hat.mean(), -0.0490844938)
  _close(x_hat.std(), 0.404089362)
  _close(x_hat[1, 31, 17], 0.625181144)
  _close(log_var.mean(), 0.155561525)
  _close(log_var.std(), 0.361573706)
  _close(log_var[1, 31, 17], 0.605068957)
  preds = {name: jnp.asarray(out[name])[None] for name in ("x_hat", "log_var")}
  scores = AEU.score(preds, cases.batch_of(images()), {})
  _close(
    scores.image["rec"], [0.505065268, 0.383661695, 0.371134031, 0.343539524]
  )


def test_aeu_steps():
  values, (params, stats) = _descend(AEU)
  _close(values, [15.6473419, 9.68597862, 6.70786687])
  out = _evaluate(AEU, params, stats)
  loss = losses.heteroscedastic_error(out["x_hat"], out["log_var"], images())
  _close(loss.mean(), 0.432219178)


def test_memae():
  out = net_outputs(MEMAE)
  x_hat, attention = out["x_hat"][..., 0], out["attention"]
  _close(x_hat.mean(), 0.377252888)
  _close(x_hat.std(), 0.250449254)
  _close(x_hat[1, 31, 17], 0.198075138)
  _close(attention[0, :3], [0.0369616479, 0.0446729379, 0.0254436578])
  _close(losses.attention_entropy(jnp.asarray(attention)).mean(), 3.15617959)
  error = losses.squared_error(jnp.asarray(out["x_hat"]), images())
  _close(error.mean(), 0.461955726)


def test_memae_steps():
  values, (params, stats) = _descend(MEMAE)
  _close(values, [3.63598631, 3.27328339, 2.81742058])
  out = _evaluate(MEMAE, params, stats)
  loss = losses.squared_error(out["x_hat"], images()).mean()
  loss += 2e-4 * losses.attention_entropy(out["attention"]).mean()
  _close(loss, 0.384430817)


def test_memae_with_threshold():
  out = net_outputs(SHRINK)
  x_hat, attention = out["x_hat"][..., 0], out["attention"]
  _close(x_hat.mean(), 0.379786803)
  _close(x_hat.std(), 0.25381207)
  _close(x_hat[1, 31, 17], 0.247734258)
  np.testing.assert_array_equal((attention > 0).sum(1), [9, 10, 10, 11])
  _close(attention[0, 1], 0.0815957235)
  _close(losses.attention_entropy(jnp.asarray(attention)).mean(), 2.27271784)


def test_refinement():
  params, stats = layout.refine_net(_refine_state())
  logits = _refine(params, stats)
  _close(logits[0, 0, 0], [0.101092739, 0.039850348])
  prob = jax.nn.softmax(logits)[..., 1].mean((1, 2))
  _close(prob, [0.479969158, 0.480201703])


def test_refinement_steps():
  params, stats = layout.refine_net(_refine_state())
  mask = np.zeros((2, 64, 64), bool)
  mask[0, 10:20, 12:30] = True
  stepper = published.stepper(ddad.Method(), cases.REFINEMENT)
  batch = {"image": _stack(), "mask": jnp.asarray(mask)}
  done = stepper.descend({"net": params}, {"net": stats}, batch, 3)
  values = done.losses
  params, stats = done.params["net"], done.extra["net"]
  _close(values, [0.19946576, 0.131205027, 0.0868015704])
  prob = jax.nn.softmax(_refine(params, stats))[..., 1].mean((1, 2))
  _close(prob, [0.434924939, 0.434961208])


@pytest.mark.parametrize(
  ("backbone", "rec", "inter", "intra"),
  [
    (
      AE,
      [0.592718841, 0.690363863, 0.675396228, 0.690684390],
      [0.610044165, 0.634101801, 0.623063540, 0.618827563],
      [0.928256370, 1.05026621, 1.03723345, 1.05387612],
    ),
    (
      AEU,
      [0.358296676, 0.379217750, 0.379974021, 0.386628536],
      [0.364840175, 0.367668518, 0.365989652, 0.357733424],
      [0.585109957, 0.635431677, 0.628824286, 0.635254629],
    ),
    (
      MEMAE,
      [0.294270559, 0.296796598, 0.301395310, 0.303888922],
      [0.208634162, 0.208945994, 0.208875522, 0.208760001],
      [0.417138611, 0.417367864, 0.417312488, 0.417230774],
    ),
  ],
  ids=["ae", "aeu", "memae"],
)
def test_ensembles(backbone, rec, inter, intra):
  method = ddad.Method(backbone=backbone)
  members = [
    layout.autoencoder(filler.hashed(shapes(backbone), 1000 * m))
    for m in range(6)
  ]
  states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
  batch = cases.batch_of(images())

  def predict(params, extra):
    return method.predict({"ensemble": cases.state_of(params, extra)}, batch)

  preds = jax.jit(jax.vmap(predict))(*states)
  scores = method.score(preds, batch, {}).image
  for name, wanted in {"rec": rec, "inter": inter, "intra": intra}.items():
    _close(scores[name], wanted)


def _descend(method):
  params, stats = layout.autoencoder(filler.hashed(shapes(method)))
  values, _, after = stepping.descend_net(
    stepping.method_loss(method, images()), params, stats, cases.ENSEMBLES, 3
  )
  return values, after


def _evaluate(method, params, stats):
  variables = {"params": params, "batch_stats": stats}
  return method.net(types.Axis()).apply(variables, images(), train=False)


def _refine_state():
  return filler.hashed(cases.load("ddad_refine")["shapes"])


def _stack():
  b, h, w, c = np.ogrid[:2, :64, :64, :2]
  z = 0.1 * np.abs(np.sin(0.07 * h + 0.11 * w + c + 0.3 * b))
  return jnp.asarray(z)


def _refine(params, stats):
  variables = jax.tree.map(
    jnp.asarray, {"params": params, "batch_stats": stats}
  )
  return RefineNet().apply(variables, _stack(), train=False)


def _close(got, wanted):
  """Equal to the printed digits."""
  np.testing.assert_allclose(np.asarray(got), wanted, rtol=5e-9, atol=5e-11)
