"""Densities against scikit-learn and against formulas written out."""

from pathlib import Path
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import covariance, neighbors

from medad_jax import types
from medad_jax.scoring import density

RNG = np.random.RandomState(0)
# Correlated, of unequal scales, and fewer than dimensions.
POINTS, OTHERS = RNG.standard_normal((2, 20, 24)) @ RNG.standard_normal(
  (24, 24)
)
POINTS, OTHERS = (
  x / np.linalg.norm(x, axis=1)[:, None] for x in (POINTS, OTHERS)
)


def ledoit_wolf(x):
  """Mean and covariance, by the sums of the paper (section 3)."""
  n, p = x.shape
  mean = x.mean(0)
  y = x - mean
  s = y.T @ y / n
  scale = np.trace(s) / p
  distance = np.sum((s - scale * np.eye(p)) ** 2) / p
  spread = sum(np.sum((np.outer(row, row) - s) ** 2) for row in y) / (p * n**2)
  share = min(spread, distance) / distance
  return mean, (1 - share) * s + share * scale * np.eye(p)


def test_gaussian():
  mean, wanted = ledoit_wolf(POINTS)
  fitted = covariance.LedoitWolf().fit(POINTS)
  np.testing.assert_allclose(fitted.covariance_, wanted, rtol=1e-10, atol=1e-12)
  got = density.gaussian(POINTS, "full")
  assert {k: v.dtype for k, v in got.items()} == dict.fromkeys(
    ("mean", "whitening"), np.float32
  )
  np.testing.assert_allclose(got["mean"], mean, rtol=1e-6)
  product = got["whitening"].T @ wanted @ got["whitening"]
  np.testing.assert_allclose(product, np.eye(24), atol=1e-5)
  scores = jax.jit(density.mahalanobis)(got, jnp.asarray(OTHERS, jnp.float32))
  # scikit-learn's distances are squared.
  np.testing.assert_allclose(scores**2, fitted.mahalanobis(OTHERS), rtol=1e-4)


def test_float32_features_are_fitted_in_float64():
  features = POINTS.astype(np.float32) + np.float32(100)
  wanted = density.gaussian(features.astype(np.float64))
  got = density.gaussian(features)
  np.testing.assert_array_equal(got["whitening"], wanted["whitening"])


def golden_features():
  """Those of tests/golden/README.md, and the distances that are known."""
  known = np.load(Path(__file__).parents[1] / "golden" / "ssl_density.npz")
  n, m, d = 2000, 9, 512
  rng = np.random.RandomState(zlib.crc32(b"ssl_density"))
  turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
  scale = np.exp(-np.arange(d) / 6)
  seen = (rng.standard_normal((n, d)) * scale) @ turn + 0.5
  new = (rng.standard_normal((m, d)) * 1.5 * scale) @ turn + 0.5
  return seen.astype(np.float32), new.astype(np.float32), known


def test_the_cutoff_is_that_of_the_official_float32_inverse():
  seen, new, known = golden_features()
  fits = {name: density.gaussian(seen, name) for name in ("cutoff", "full")}
  kept = {k: np.any(v["whitening"], 0).sum() for k, v in fits.items()}
  assert kept == {"cutoff": known["kept"], "full": 512}
  squares = {
    k: np.asarray(density.mahalanobis(v, jnp.asarray(new)), np.float64) ** 2
    for k, v in fits.items()
  }
  # Means and deviations are rounded to float32, as they are scored.
  np.testing.assert_allclose(
    squares["cutoff"], known["distance_cutoff"], rtol=2e-5
  )
  np.testing.assert_allclose(
    squares["cutoff"], known["distance_reference_float32"], rtol=4e-5
  )
  np.testing.assert_allclose(squares["full"], known["distance_full"], rtol=1e-4)
  # Another score: no tolerance above takes one for the other.
  gap = known["distance_full"] / known["distance_reference_float32"]
  assert gap.min() > 1.05


def test_the_mean_is_at_distance_zero():
  params = density.gaussian(POINTS)
  got = density.mahalanobis(params, jnp.asarray(params["mean"])[None])
  np.testing.assert_array_equal(got, [0])


@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_kernel(shift):
  fitted = neighbors.KernelDensity().fit(POINTS + shift)
  wanted = -fitted.score_samples(OTHERS + shift)
  params = density.kernel(POINTS + shift)
  others = jnp.asarray(OTHERS + shift, jnp.float32)
  got = jax.jit(density.kernel_score)(params, others)
  np.testing.assert_allclose(got, wanted, rtol=1e-6)
  # Not the constant alone.
  assert np.ptp(wanted) > 100 * np.abs(got - wanted).max()


def test_kernel_far_away_is_finite():
  points = np.array([[0.0, 0.0], [2.0, 0.0]])
  got = density.kernel_score(density.kernel(points), jnp.array([[102.0, 0.0]]))
  wanted = np.log(2) + np.log(2 * np.pi) + 100**2 / 2
  np.testing.assert_allclose(got, [wanted], rtol=1e-6)


def test_normalize():
  got = density.normalize(jnp.array([[3.0, 4.0], [0.0, 0.0], [0.0, 1e-13]]))
  np.testing.assert_allclose(got, [[0.6, 0.8], [0, 0], [0, 0.1]], rtol=1e-6)


@pytest.mark.parametrize("fit", [density.gaussian, density.kernel])
def test_one_image_has_no_density(fit):
  with pytest.raises(types.UserError, match="two or more"):
    fit(POINTS[:1])
