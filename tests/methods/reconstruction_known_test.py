"""MedIAnomaly's methods of one net against printed numbers of the reference.

In float64; `known` says how weights and images are made.
"""

import jax
import jax.numpy as jnp
import pytest

from medad_jax.methods import (
  ae,
  ae_l1,
  ae_spatial,
  ae_ssim,
  aeu,
  constrained_ae,
  memae,
)
from tests.golden import cases
from tests.methods import stepping
from tests.methods.known import (
  NET,
  check,
  close,
  descend,
  filled,
  first_gradient,
  images,
)

AE = ae.Method(**NET)


@pytest.fixture(autouse=True)
def double():
  """Every test of this file computes in float64."""
  with jax.enable_x64(True):
    yield


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
