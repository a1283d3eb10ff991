"""MedIAnomaly's methods against numbers of the PyTorch reference, float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.methods import vae
from tests.golden import cases
from tests.golden.cases import close
from tests.methods import published

# The score that a case holds; "rec" where it is not named.
SCORES = {
  "recon_ae_grad": "grad_rec",
  "recon_vae_rec": "grad_rec",
  "recon_vae_kl": "grad_kl",
  "recon_vae_elbo": "grad_elbo",
  "recon_vae_combi": "combi",
}


@pytest.fixture(params=(*published.RECONSTRUCTION, "recon_dae_unet"))
def case(request):
  name = request.param
  state = cases.state_of(None, None)
  params, extra = published.start(name)
  state = state.replace(params=params, extra=extra)
  return name, published.ALL[name], state, cases.load(name)


def test_scores(case):
  name, method, state, expected = case
  image, score = published.images(name), SCORES.get(name, "rec")
  batch = cases.batch_of(image)
  # Shared stages come with their only member in front.
  fitted = jax.tree.map(lambda x: x[None], published.own(name))

  @jax.jit
  def scores(state, fitted):
    if isinstance(method, vae.Method):
      noise = jnp.asarray(published.noise(name, len(image)))
      preds = method.views(state, image, noise[None])
    else:
      preds = method.predict({"train": state}, batch)
    preds = jax.tree.map(lambda x: x[None], preds)
    found = method.score(preds, batch, fitted)
    return preds["x_hat"][0], found.image[score], found.maps[score]

  # Ten group normalizations magnify what the order of sums rounds.
  slack = 20 if name == "recon_dae_unet" else 1
  x_hat, value, map_ = scores(state, fitted)
  # The reference's gradients are those of a mean over the batch, here of four.
  images = len(image) if score != "rec" else 1
  wanted, map_wanted = (
    images * expected[name] for name in ("score", "score_map")
  )
  # Gradients of a mean over pixels are as small as an image is large.
  scale = float(np.abs(map_wanted).max())
  close(cases.channels_first(x_hat), expected["eval_x_hat"], atol=slack * 3e-6)
  close(value, wanted, rtol=2e-5)
  close(map_[:, None], map_wanted, rtol=slack * 1e-5, atol=slack * 1e-5 * scale)


def test_ganomaly_scores():
  name = "recon_ganomaly"
  method, expected = published.ALL[name], cases.load(name)
  params, extra = published.start(name)
  state = cases.state_of(None, None).replace(params=params, extra=extra)
  batch = cases.batch_of(published.images(name))

  @jax.jit
  def scores(state):
    preds = method.predict({"train": state}, batch)
    found = method.score(jax.tree.map(lambda x: x[None], preds), batch, {})
    return preds["x_hat"], found.image["latent"]

  x_hat, value = scores(state)
  close(cases.channels_first(x_hat), expected["test_x_hat"], atol=2e-5)
  close(value, expected["test_score"], rtol=1e-4)
