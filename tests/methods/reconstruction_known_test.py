"""MedIAnomaly's methods against printed numbers of the reference, float64.

Weights, images and noise come from an integer hash of a tensor's number and
the place in it.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.augment.noise import coarse_noise
from medad_jax.methods import (
  ae,
  ae_l1,
  ae_perceptual,
  ae_spatial,
  ae_ssim,
  aeu,
  ceae,
  constrained_ae,
  dae,
  ganomaly,
  memae,
  vae,
)
from tests.golden import cases, filler, layout, synthetic_vgg
from tests.methods import stepping

NET = {"hidden": 1024}
AE, VAE = ae.Method(**NET), vae.Method(**NET)


@pytest.fixture(autouse=True)
def double():
  """Every test of this file computes in float64."""
  with jax.enable_x64(True):
    yield


def draw(number, *shape):
  """2u - 1 of a tensor's number, rounded to float32 as the weights are."""
  u = filler.counted_uniform(number, int(np.prod(shape)))
  value = (2 * u - 1).reshape(shape).astype(np.float32)
  return cases.doubled(value)


def images(channels=1, count=4):
  return draw(1000, count, channels, 64, 64).transpose(0, 2, 3, 1)


def filled(case):
  shapes = cases.load(case)["shapes"]
  return cases.doubled(layout.reconstruction(filler.counted(shapes)))


# Method, case of the shapes, scores of four images, the map's [0, 10, 20] and
# its largest value in image 0; loss, the norm of its gradient, the gradient's
# first element, and the loss after three steps.
KNOWN = {
  "ae": (
    AE,
    "recon_ae",
    [0.3289861, 0.3343106, 0.3405229, 0.3347038],
    (0.5310913, 1.162768),
    (3.130971, 9.653758, 0.06250512, 1.88458),
  ),
  "ae-rgb": (
    AE,
    "recon_ae_rgb",
    [0.3328186, 0.3312569, 0.3292695, 0.3300347],
    (0.2187626, 0.9628402),
    (1.147243, 2.324585, 7.606355e-5, 0.8167802),
  ),
  "ae-l1": (
    ae_l1.Method(**NET),
    "recon_ae",
    [0.4936895, 0.4996089, 0.5060702, 0.5024828],
    (0.7287601, 1.078317),
    (1.401244, 2.836023, 0.007562994, 1.069158),
  ),
  "ae-ssim": (
    ae_ssim.Method(**NET),
    "recon_ae",
    [0.9879673, 0.9911948, 0.9876908, 0.9894900],
    (1.005922, 1.072477),
    (1.004727, 1.438192, -0.009748841, 0.8367264),
  ),
  "ae-spatial": (
    ae_spatial.Method(**NET),
    "recon_ae_spatial",
    [0.3592031, 0.3600111, 0.3671070, 0.3604270],
    (0.3734613, 2.007859),
    (2.339834, 5.779986, 0.005889715, 1.308115),
  ),
  "memae": (
    memae.Method(threshold=0.0025, **NET),
    "recon_memae",
    [0.3545428, 0.3684612, 0.3749845, 0.3666746],
    (0.2647205, 1.853058),
    (3.009282, 7.168270, 0.02092606, 1.833767),
  ),
  "aeu": (
    aeu.Method(**NET),
    "recon_aeu",
    [0.3288153, 0.3352180, 0.3413672, 0.3359496],
    (0.5308500, 1.136065),
    (3.078401, 30.10867, 0.2492431, 1.515381),
  ),
  "constrained-ae": (
    constrained_ae.Method(**NET),
    "recon_ae",
    [0.3289861, 0.3343106, 0.3405229, 0.3347038],
    (0.5310913, 1.162768),
    (3.841665, 109.4279, 0.2856779, 3.772552),
  ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_scores(name):
  method, case, scores, (pixel, most), _ = KNOWN[name]
  batch = cases.batch_of(images(3 if name == "ae-rgb" else 1))

  @jax.jit
  def found(state):
    preds = method.predict({"train": state}, batch)
    return method.score(jax.tree.map(lambda x: x[None], preds), batch, {})

  result = found(cases.state_of(*filled(case)))
  close(result.image["rec"], scores)
  close(result.maps["rec"][0, 10, 20], pixel)
  close(jnp.max(result.maps["rec"][0]), most)
  if name == "ae":
    grads = result.maps["grad_rec"]
    expected = [2.411456e-4, 2.439758e-4, 2.471637e-4, 2.453857e-4]
    close(result.image["grad_rec"], expected)
    close(grads[0, 10, 20], 3.588644e-4)
    close(jnp.max(grads[0]), 5.293405e-4)
    x_hat = result.reconstruction[..., 0]
    close(jnp.mean(x_hat), 0.003275115)
    close(jnp.std(x_hat), 0.04375301)
    close(x_hat[1, 31, 17], -0.02523047)


@pytest.mark.parametrize("name", KNOWN)
def test_training(name):
  method, case, _, _, (loss, norm, first, after) = KNOWN[name]
  image = images(3 if name == "ae-rgb" else 1)
  done = descend(stepping.method_loss(method, image), *filled(case))
  check(done, loss, norm, after)
  close(first_gradient(done), first)
  metrics = done.metrics[0]
  for key, value in {
    "constrained-ae": {"error": 3.130971, "latent": 0.7106935},
    "memae": {"error": 3.008674, "entropy": 3.042132},
    "aeu": {"log_var": 0.03544399},
  }.get(name, {}).items():
    close(metrics[key], value)


# Running statistics, element 0, after one forward pass.
STATISTICS = {
  "ae": (AE, "recon_ae", -0.0659651, 0.7221128, 1.113280, 0.01699497),
  "constrained-ae": (
    KNOWN["constrained-ae"][0],
    "recon_ae",
    -0.1393785,
    0.8088237,
    1.048086,
    0.05225578,
  ),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_running_statistics(name):
  method, case, *expected = STATISTICS[name]
  params, stats = filled(case)
  _, extra = jax.jit(
    lambda: method.apply(
      {"net": params}, {"net": stats}, images(), cases.CONTEXT
    )
  )()
  new = extra["net"]
  close(new["encoder"]["BatchNorm_0"]["mean"][0], expected[0])
  close(new["encoder"]["BatchNorm_0"]["var"][0], expected[1])
  close(new["encoder"]["BatchNorm_4"]["var"][0], expected[2])
  close(new["decoder"]["BatchNorm_0"]["mean"][0], expected[3])


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


def descend(loss, params, stats):
  """Four losses, so three steps."""
  return stepping.descend(
    loss, {"net": params}, {"net": stats}, cases.MEDIANOMALY, 4
  )


def check(done, loss, norm, after):
  close(done.losses[0], loss)
  close(gradient_norm(done), norm)
  close(done.losses[3], after)


def gradient_norm(done):
  return global_norm(done.grads["net"])


def global_norm(grads):
  return np.sqrt(sum(float(jnp.sum(g**2)) for g in jax.tree.leaves(grads)))


def first_gradient(done):
  return done.grads["net"]["encoder"]["Conv4x4s2_0"]["kernel"][0, 0, 0, 0]


close = functools.partial(np.testing.assert_allclose, rtol=3e-6, atol=1e-9)
