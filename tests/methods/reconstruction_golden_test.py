"""MedIAnomaly's methods against numbers of the PyTorch reference, float32."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.methods import (
  ae,
  ae_l1,
  ae_spatial,
  ae_ssim,
  aeu,
  constrained_ae,
  dae,
  ganomaly,
  memae,
  vae,
)
from tests.golden import cases, filler, layout

NET = {"hidden": 1024}
VAE = vae.Method(**NET)
# Method and the score that the case holds.
METHODS = {
  "recon_ae": (ae.Method(**NET), "rec"),
  "recon_ae_rgb": (ae.Method(**NET), "rec"),
  "recon_ae_deep": (ae.Method(32, 32, 1024, 2, 3), "rec"),
  "recon_ae_grad": (ae.Method(**NET), "grad_rec"),
  "recon_ae_l1": (ae_l1.Method(**NET), "rec"),
  "recon_ae_ssim": (ae_ssim.Method(**NET), "rec"),
  "recon_ae_spatial": (ae_spatial.Method(**NET), "rec"),
  "recon_aeu": (aeu.Method(**NET), "rec"),
  "recon_constrained_ae": (constrained_ae.Method(**NET), "rec"),
  "recon_memae": (memae.Method(threshold=0.0025, **NET), "rec"),
  "recon_vae": (VAE, "rec"),
  "recon_vae_rec": (VAE, "grad_rec"),
  "recon_vae_kl": (VAE, "grad_kl"),
  "recon_vae_elbo": (VAE, "grad_elbo"),
  "recon_vae_combi": (VAE, "combi"),
}


GAN = ("generator", "adversarial", "error", "latent", "discriminator")


# A normalization of two codes has next to no gradient but the reference's
# rounding; `test_deep_gradients` has its float64.
SLACK = {"recon_ae_rgb": 3e-3, "recon_ae_deep": 7e-2}


def images(name):
  if name == "recon_ae_rgb":
    return filler.named_images("recon_rgb", (2, 3, 64, 64))
  count = 2 if name == "recon_ae_deep" else 4
  return filler.named_images("recon", (4, 1, 64, 64))[:count]


def noise(name, count):
  draw = np.random.RandomState(zlib.crc32(f"{name}/eps".encode()))
  return jnp.asarray(draw.standard_normal((count, 16)), jnp.float32)


@pytest.fixture(scope="module", params=METHODS)
def case(request):
  name = request.param
  expected = cases.load(name)
  state = filler.named(name, expected["shapes"])
  image = cases.channels_last(images(name))
  return name, *METHODS[name], layout.reconstruction(state), image, expected


@pytest.fixture
def double():
  """Adam's first steps amplify rounding: only the reference may round."""
  with jax.enable_x64(True):
    yield


def test_scores(case):
  name, method, score, net, image, expected = case
  batch = cases.batch_of(image)

  @jax.jit
  def scores(state):
    if isinstance(method, vae.Method):
      preds = method.views(state, image, noise(name, len(image))[None])
    else:
      preds = method.predict({"train": state}, batch)
    found = method.score(jax.tree.map(lambda x: x[None], preds), batch, {})
    return preds["x_hat"], found.image[score], found.maps[score]

  x_hat, value, map_ = scores(cases.state_of(*net))
  # The reference's gradients are those of a mean over the batch, here of four.
  images = len(image) if score != "rec" else 1
  wanted, map_wanted = (
    images * expected[name] for name in ("score", "score_map")
  )
  # Gradients of a mean over pixels are as small as an image is large.
  scale = float(np.abs(map_wanted).max())
  close(cases.channels_first(x_hat), expected["eval_x_hat"], atol=3e-6)
  close(value, wanted, rtol=2e-5)
  close(map_[:, None], map_wanted, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.usefixtures("double")
def test_training(case):
  name, method, _, net, image, expected = case
  params, stats, image = cases.doubled((*net, image))
  values, grads, _ = cases.descend_net(
    loss_of(name, method, image), params, stats, cases.MEDIANOMALY, 3
  )
  close(values[0], expected["losses"][0], rtol=2e-6)
  found = layout.by_key(grads, stats, expected["shapes"], layout.reconstruction)
  slack = SLACK.get(name, 1e-3)
  for key, norm in expected["grad_norms"].items():
    got = np.linalg.norm(found[key])
    close(got, norm, rtol=slack, atol=1e-4, err_msg=key)
  # Adam and the normalization of few codes (two in RGB and deep) magnify the
  # reference's rounding; `reconstruction_known_test` has its float64.
  close(values, expected["losses"], rtol=4e-2)


@pytest.mark.usefixtures("double")
def test_deep_gradients():
  """PyTorch in float64, with the same weights and images."""
  name = "recon_ae_deep"
  method, expected = METHODS[name][0], cases.load(name)
  net = layout.reconstruction(filler.named(name, expected["shapes"]))
  image = cases.channels_last(images(name))
  params, stats, image = cases.doubled((*net, image))
  values, grads, _ = cases.descend_net(
    cases.method_loss(method, image), params, stats, cases.MEDIANOMALY, 1
  )
  close(values[0], 5.153374905304828, rtol=1e-12)
  found = layout.by_key(grads, stats, expected["shapes"], layout.reconstruction)
  for key, norm in {
    "en_block1.model.0.weight": 167.7628876455269,
    "en_block2.model.0.weight": 389.93182569176014,
    "bottle_neck.linear_dec.3.weight": 11.176412426497206,
  }.items():
    close(np.linalg.norm(found[key]), norm, rtol=1e-9)


def loss_of(name, method, image):
  if not isinstance(method, vae.Method):
    return cases.method_loss(method, image)
  given = jnp.asarray(noise(name, len(image)), image.dtype)
  return lambda params, extra: method.loss_of(
    params, extra, image, given, cases.CONTEXT
  )


@pytest.mark.usefixtures("double")
def test_dae():
  expected = cases.load("recon_dae_unet")
  state = filler.named("recon_dae_unet", expected["shapes"])
  method, training = dae.Method(), cases.MEDIANOMALY
  params, _ = layout.reconstruction(state)
  image = cases.channels_last(
    filler.named_images("recon_128", (1, 1, 128, 128))
  )

  def loss(params, extra):
    out, extra = method.apply(params, extra, image, cases.CONTEXT)
    value, metrics = method.objective(out, image)
    return value, (extra, {**metrics, "x_hat": out["x_hat"]})

  done = cases.descend(loss, {"net": params}, {}, training, 2)
  close(done.losses[0], expected["score"][0], rtol=2e-6)
  x_hat = cases.channels_first(done.metrics[0]["x_hat"])
  close(x_hat, expected["eval_x_hat"], rtol=1e-4, atol=5e-5)
  close(done.losses, expected["losses"], rtol=3e-3)
  found = layout.by_key(
    done.grads["net"], {}, expected["shapes"], layout.reconstruction
  )
  for key, norm in expected["grad_norms"].items():
    got = np.linalg.norm(found[key])
    close(got, norm, rtol=2e-3, atol=1e-5, err_msg=key)


@pytest.fixture(scope="module")
def gan():
  expected = cases.load("recon_ganomaly")
  state = filler.named("recon_ganomaly", expected["shapes"])
  params, stats = layout.reconstruction(state)
  epoch = {"loss": jnp.zeros(()), "images": jnp.zeros(())}
  image = cases.channels_last(images("recon_ganomaly"))
  extra = {**stats, "epoch": epoch}
  return ganomaly.Method(**NET), params, extra, image, expected


def test_ganomaly_scores(gan):
  method, params, extra, image, expected = gan
  state = cases.state_of(None, None).replace(params=params, extra=extra)
  batch = cases.batch_of(image)

  @jax.jit
  def scores(state):
    preds = method.predict({"train": state}, batch)
    found = method.score(jax.tree.map(lambda x: x[None], preds), batch, {})
    return preds["x_hat"], found.image["latent"]

  x_hat, value = scores(state)
  close(cases.channels_first(x_hat), expected["test_x_hat"], atol=2e-5)
  close(value, expected["test_score"], rtol=1e-4)


@pytest.mark.usefixtures("double")
def test_ganomaly_training(gan):
  method, params, extra, image, expected = gan
  params, extra, image = cases.doubled((params, extra, image))
  loss = cases.method_loss(method, image)
  done = cases.descend(loss, params, extra, cases.MEDIANOMALY, 3)
  rows = [[float(row[name]) for name in GAN] for row in done.metrics]
  close(rows[0], expected["losses"][0], rtol=2e-6)
  close(rows, expected["losses"], rtol=1e-2)


def close(got, wanted, **tolerance):
  got = np.asarray(got)
  if got.shape != np.shape(wanted):
    got = got[cases.SAMPLED]
  np.testing.assert_allclose(got, wanted, **tolerance)
