"""Gaussians at positions, beside NumPy's covariance."""

import numpy as np

from medad_jax.scoring import positions


def test_distances_are_those_of_numpys_covariance():
  rng = np.random.RandomState(0)
  mixing = rng.standard_normal((6, 5, 5))
  draw = np.einsum("npd,pde->npe", rng.standard_normal((40, 6, 5)), mixing)
  features = (100 + draw).astype(np.float32)
  moments = positions.Moments()
  for part in np.split(features, [3, 20]):
    moments.add(part)
  queries = features[:4] + rng.standard_normal((4, 6, 5)).astype(np.float32)
  found = positions.mahalanobis(moments.estimate(), queries)
  for place in range(6):
    own = features[:, place].astype(float)
    covariance = np.cov(own.T)
    covariance += 0.01 * np.trace(covariance) / 5 * np.eye(5)
    gaps = queries[:, place] - own.mean(0)
    squares = np.einsum("nd,de,ne->n", gaps, np.linalg.inv(covariance), gaps)
    np.testing.assert_allclose(found[:, place], squares**0.5, rtol=1e-4)


def test_a_constant_position_and_few_images_have_finite_distances():
  moments = positions.Moments()
  features = np.random.RandomState(0).rand(3, 2, 8).astype(np.float32)
  features[:, 0] = 1
  moments.add(features)
  found = positions.mahalanobis(moments.estimate(), features)
  assert np.isfinite(found).all()
  np.testing.assert_allclose(found[:, 0], 0, atol=1e-3)
