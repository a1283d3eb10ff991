"""Discrepancy maps against NumPy written out, on images of three channels."""

import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.scoring import discrepancy

RNG = np.random.RandomState(0)
IMAGE = RNG.standard_normal((2, 4, 5, 3)).astype(np.float32)
UNKNOWN, NORMATIVE, LOG_VAR = RNG.standard_normal((3, 3, 2, 4, 5, 3)).astype(
  np.float32
)
VARIANCE = np.exp(LOG_VAR).mean(0)


def close(got, wanted):
  np.testing.assert_allclose(got, wanted.mean(-1), rtol=1e-5, atol=1e-6)


def test_without_variances():
  error = (IMAGE - NORMATIVE[0]) ** 2
  close(discrepancy.error_map(*map(jnp.asarray, (IMAGE, NORMATIVE[0]))), error)
  gap = np.abs(UNKNOWN.mean(0) - NORMATIVE.mean(0))
  close(
    discrepancy.inter_map(jnp.asarray(UNKNOWN), jnp.asarray(NORMATIVE)), gap
  )
  spread = NORMATIVE.std(0, ddof=1)
  close(discrepancy.intra_map(jnp.asarray(NORMATIVE)), spread)


def test_with_variances():
  variance = discrepancy.mean_variance({"log_var": jnp.asarray(LOG_VAR)})
  np.testing.assert_allclose(variance, VARIANCE, rtol=1e-5)
  x_hat, unknown, normative = map(
    jnp.asarray, (NORMATIVE[0], UNKNOWN, NORMATIVE)
  )
  error = (IMAGE - NORMATIVE[0]) ** 2 / VARIANCE
  close(discrepancy.error_map(jnp.asarray(IMAGE), x_hat, variance), error)
  gap = np.abs(UNKNOWN.mean(0) - NORMATIVE.mean(0)) / np.sqrt(VARIANCE)
  close(discrepancy.inter_map(unknown, normative, variance), gap)
  spread = NORMATIVE.std(0, ddof=1) / np.sqrt(VARIANCE)
  close(discrepancy.intra_map(normative, variance), spread)


def test_member_maps():
  preds = {"x_hat": jnp.asarray(NORMATIVE)}
  error = (IMAGE - NORMATIVE) ** 2
  close(discrepancy.member_maps(jnp.asarray(IMAGE), preds), error)
  assert discrepancy.mean_variance(preds) is None
  preds["log_var"] = jnp.asarray(LOG_VAR)
  close(
    discrepancy.member_maps(jnp.asarray(IMAGE), preds), error * np.exp(-LOG_VAR)
  )


def test_one_member_has_no_spread():
  with pytest.raises(ValueError, match="two members"):
    discrepancy.intra_map(jnp.asarray(NORMATIVE[:1]))


def test_image_score():
  got = discrepancy.image_score(jnp.asarray(IMAGE[..., 0]))
  np.testing.assert_allclose(got, IMAGE[..., 0].mean((1, 2)), rtol=1e-5)
