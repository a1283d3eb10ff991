"""Dirichlet distributions: against the reference's, and what they should be."""

import weakref
import zlib

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from medad_jax.scoring import dirichlet
from tests.golden import cases

GOLDEN = cases.load("geo_dirichlet")
CONFIG = GOLDEN["config"]


def rows(name: str, tag: str) -> np.ndarray:
  """The probabilities that the reference was given, [n 1 k]."""
  given = CONFIG[tag]
  shape = (6 if name else given["N"], given["K"])
  random = np.random.RandomState(
    zlib.crc32(f"geo_dirichlet/{name}{tag}".encode())
  )
  logits = given["gain"] * random.standard_normal(shape)
  logits[:, 3] += given["peak"]
  found = scipy.special.softmax(logits, axis=1).astype(np.float32)
  return found[:, None]


def score(alpha, found):
  """By float64, as the reference's scores were made."""
  logs = np.log(found.astype(float) + 1e-6)
  return ((alpha - 1) * logs).sum(-1).mean(-1)


@pytest.mark.parametrize("tag", ["a", "b", "c"])
def test_the_fit_is_the_references_in_float64(tag):
  train, test = rows("", tag), rows("test_", tag)
  np.testing.assert_allclose(train[:2, 0], GOLDEN[f"{tag}_prob_first"])
  found = dirichlet.fit(dirichlet.means([train]))
  exact = {"rtol": 1e-7}
  np.testing.assert_allclose(
    found.first[0], GOLDEN[f"{tag}_alpha0_f64"], **exact
  )
  np.testing.assert_allclose(
    found.alpha[0], GOLDEN[f"{tag}_alpha_f64"], **exact
  )
  assert abs(found.updates[0] - GOLDEN[f"{tag}_updates_f64"][0]) <= 1
  for given, wanted in (
    (test, GOLDEN[f"{tag}_score_f64"]),
    (train[:5], GOLDEN[f"{tag}_score_train_f64"]),
  ):
    np.testing.assert_allclose(
      score(found.alpha, given), wanted, rtol=1e-7, atol=1e-7
    )
    single = dirichlet.log_density(
      jnp.asarray(found.alpha, jnp.float32), jnp.asarray(given)
    )
    np.testing.assert_allclose(single, wanted, rtol=1e-5, atol=1e-3)


def test_a_stream_is_its_concatenation():
  whole = rows("", "b")
  cut = dirichlet.means(iter([whole[:7], whole[7:8], whole[8:]]))
  for found, wanted in zip(cut, dirichlet.means([whole]), strict=True):
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_stream_is_not_kept():
  seen = []

  def stream():
    for _ in range(5):
      batch = np.full((2, 1, 3), 1 / 3, np.float32)
      seen.append(weakref.ref(batch))
      yield batch
      del batch
      # The loop over the stream still names the last one.
      assert not any(ref() is not None for ref in seen[:-1])

  dirichlet.means(stream())
  assert len(seen) == 5


def test_the_likelihood_is_greatest_there():
  whole = rows("", "c")[:, 0].astype(float)
  whole /= whole.sum(1, keepdims=True)
  alpha = dirichlet.fit(dirichlet.means([whole[:, None]])).alpha[0]

  def likelihood(alpha):
    return sum(scipy.stats.dirichlet.logpdf(row, alpha) for row in whole)

  for place in range(len(alpha)):
    for factor in (0.99, 1.01):
      other = alpha.copy()
      other[place] *= factor
      assert likelihood(other) < likelihood(alpha)


def test_a_probability_of_zero_leaves_everything_finite():
  whole = rows("", "c")
  whole[0, 0, 1] = 0.0
  found = dirichlet.fit(dirichlet.means([whole]))
  assert np.isfinite(found.alpha).all()
