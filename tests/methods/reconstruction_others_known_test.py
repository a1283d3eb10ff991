"""MedIAnomaly's other methods against printed numbers of the reference.

In float64; `known` says how weights, images and noise are made.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.augment.noise import coarse_noise
from medad_jax.methods import ae_perceptual, ceae, dae, ganomaly, vae
from tests.golden import cases, filler, layout, synthetic_vgg
from tests.methods import stepping
from tests.methods.known import (
  NET,
  check,
  close,
  descend,
  draw,
  filled,
  first_gradient,
  global_norm,
  gradient_norm,
  images,
)

VAE = vae.Method(**NET)


@pytest.fixture(autouse=True)
def double():
  """Every test of this file computes in float64."""
  with jax.enable_x64(True):
    yield


def test_vae_scores():
  noise = draw(2000, 1, 16).repeat(4, 0)

  @jax.jit
  def found(state):
    preds = VAE.views(state, images(), noise[None])
    batch = cases.batch_of(images())
    return VAE.score(jax.tree.map(lambda x: x[None], preds), batch, {})

  result = found(cases.state_of(*filled("recon_vae")))
  for name, (scores, pixel, most) in {
    "rec": (
      [0.3307309, 0.3362285, 0.3417742, 0.3357199],
      0.5023784,
      1.313634,
    ),
    "grad_elbo": (
      [2.414269e-4, 2.444585e-4, 2.470755e-4, 2.455365e-4],
      3.426970e-4,
      5.594817e-4,
    ),
    "grad_rec": (
      [2.414006e-4, 2.444549e-4, 2.470487e-4, 2.455103e-4],
      3.421865e-4,
      5.590114e-4,
    ),
    "grad_kl": (
      [8.272394e-5, 7.662213e-5, 8.368969e-5, 9.554026e-5],
      1.020921e-4,
      5.585360e-4,
    ),
    "combi": (
      [2.753449e-5, 2.574896e-5, 2.876435e-5, 3.192097e-5],
      5.128889e-5,
      4.317695e-4,
    ),
  }.items():
    close(result.image[name], scores)
    close(result.maps[name][0, 10, 20], pixel)
    close(jnp.max(result.maps[name][0]), most)


def test_vae_training():
  noise = draw(2000, 4, 16)
  done = descend(
    lambda params, extra: VAE.loss_of(
      params, extra, cases.batch_of(images()), noise, cases.CONTEXT
    ),
    *filled("recon_vae"),
  )
  check(done, 3.148990, 7.614991, 1.849998)
  close(first_gradient(done), -5.266526e-4)
  close(done.metrics[0]["error"], 3.147347)
  close(done.metrics[0]["divergence"], 0.3286948)


def test_ceae_training():
  method = ceae.Method(**NET)
  x = images()
  holed = x
  for b in range(4):
    rows, columns = slice(3 + 7 * b, 13 + 7 * b), slice(5 + 9 * b, 15 + 9 * b)
    holed = holed.at[b, rows, columns].set(-1)

  def loss(params, extra):
    out, extra = method.apply(params, extra, holed, cases.CONTEXT)
    value, metrics = method.objective(out, x)
    return value, (extra, metrics)

  check(descend(loss, *filled("recon_ae")), 3.125131, 10.38542, 1.845305)


def coarse():
  """The noise of two images, not yet added."""
  drawn = 0.2 * draw(3000, 2, 1, 16, 16).transpose(0, 2, 3, 1)
  return coarse_noise(drawn, (64, 64), jnp.array([5, 9]))


def test_dae_noise():
  x = images(count=2)
  noisy = dae.Method().add(x, coarse(), cases.CONTEXT)
  close(noisy[0, 0, 0, 0], -1.177963)
  close(noisy[1, 40, 7, 0], -0.1833343)
  close(jnp.mean(noisy), -1.000891)
  dark = jnp.where(x < 0, -1, x)
  method = dae.Method(foreground=True)
  noisy = method.add(dark, coarse(), cases.CONTEXT)
  close(jnp.mean(noisy), -1.256936)
  close(jnp.std(noisy), 0.783919)


@pytest.mark.slow
def test_dae():
  given = images(count=2), coarse()
  x, noise = (np.asarray(array, np.float32) for array in given)
  # In float32: the U-Net takes two minutes in float64.
  with jax.enable_x64(False):
    method, x, noise = dae.Method(), jnp.asarray(x), jnp.asarray(noise)
    shapes = cases.load("recon_dae_unet")["shapes"]
    params, _ = layout.reconstruction(filler.counted(shapes))
    batch = cases.batch_of(x)

    @jax.jit
    def found(state):
      preds = method.predict({"train": state}, batch)
      return method.score(jax.tree.map(lambda x: x[None], preds), batch, {})

    result = found(cases.state_of(params, {}))
    close(result.image["rec"], [1.289911, 1.326924], rtol=1e-5)
    close(result.maps["rec"][0, 10, 20], 0.04889148, rtol=1e-3)
    close(jnp.max(result.maps["rec"][0]), 16.55746, rtol=1e-4)
    x_hat = result.reconstruction[..., 0]
    close(jnp.mean(x_hat), -0.1588748, rtol=1e-4)
    close(x_hat[1, 31, 17], -0.5038541, rtol=1e-4)
    noisy = method.add(x, noise, cases.CONTEXT)

    def loss(params, extra):
      out, extra = method.apply(params, extra, noisy, cases.CONTEXT)
      value, metrics = method.objective(out, x)
      return value, (extra, metrics)

    done = stepping.descend(loss, {"net": params}, {}, cases.MEDIANOMALY, 2)
    close(done.losses[0], 1.304187, rtol=1e-5)
    close(done.losses[1], 0.8329454, rtol=5e-3)
    close(gradient_norm(done), 10.83214, rtol=3e-4)


def test_ganomaly():
  method = ganomaly.Method(**NET)
  params, stats = filled("recon_ganomaly")
  epoch = {"loss": jnp.zeros(()), "images": jnp.zeros(())}
  extra = {**stats, "epoch": epoch}
  state = cases.state_of(None, None).replace(params=params, extra=extra)
  batch = cases.batch_of(images())

  @jax.jit
  def scores(state):
    preds = method.predict({"train": state}, batch)
    found = method.score(jax.tree.map(lambda x: x[None], preds), batch, {})
    return found.image["latent"]

  close(scores(state), [0.5726550, 0.7163946, 0.4473508, 0.8110444])
  stepper = stepping.of_method(method, cases.MEDIANOMALY)
  done = stepper.descend(params, extra, batch, 4)
  metrics = done.metrics[0]
  for name, value in {
    "net_loss": 125.6814,
    "adversarial": 0.2367973,
    "error": 2.494755,
    "latent": 0.7068567,
    "disc_loss": 0.7086972,
  }.items():
    close(metrics[name], value)
  for part, norm in {"net": 283.2347, "disc": 5.952131}.items():
    close(global_norm(done.grads[part]), norm)
  close(done.metrics[3]["net_loss"], 70.37780, rtol=1e-3)
  close(done.metrics[3]["disc_loss"], 0.01835198, rtol=1e-3)


@pytest.mark.slow
def test_ae_perceptual():
  method = ae_perceptual.Method(**NET)
  net = synthetic_vgg.variables(synthetic_vgg.medianomaly, 1.5)["params"]
  mean, scale = synthetic_vgg.statistics()
  statistics = {"mean": mean, "scale": scale}
  params = cases.doubled({"vgg19": net, "vgg19_r42": statistics})
  features = cases.state_of(None, None).replace(params=params)
  batch, state = cases.batch_of(images()), cases.state_of(*filled("recon_ae"))

  @jax.jit
  def found(state, features):
    preds = method.predict({"train": state}, batch)
    preds = jax.tree.map(lambda x: x[None], preds)
    shared = jax.tree.map(lambda x: x[None], features)
    return method.score(preds, batch, {"features": shared})

  result = found(state, features)
  scores = [0.8404666, 0.8435709, 0.8431442, 0.8440439]
  close(result.image["rec"], scores, rtol=1e-5)
  close(result.maps["rec"][0, 10, 20], 0.8722305, rtol=1e-5)
  close(jnp.max(result.maps["rec"][0]), 1.109561, rtol=1e-5)
  context = dataclasses.replace(cases.CONTEXT, own={"features": features})
  done = stepping.descend(
    lambda params, extra: method.loss(params, extra, batch, context),
    state.params,
    state.extra,
    cases.MEDIANOMALY,
    2,
  )
  close(done.losses, [1.854958, 1.564846], rtol=1e-5)
  close(gradient_norm(done), 7.343543, rtol=1e-5)
  close(first_gradient(done), 0.05711928, rtol=1e-5)
