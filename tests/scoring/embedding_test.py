"""Latents on a plane: near ones stay together, and nothing fails."""

import numpy as np
import pytest

from medad_jax.scoring import embedding


def test_groups_stay_apart():
  rng = np.random.default_rng(0)
  centers = 20 * np.repeat(np.eye(3, 8), 15, axis=0)
  latents = (centers + rng.normal(size=(45, 8))).astype(np.float32)
  places = embedding.tsne(latents)
  assert places.shape == (45, 2)
  group = np.repeat(np.arange(3), 15)
  gaps = np.linalg.norm(places[:, None] - places, axis=-1)
  np.fill_diagonal(gaps, np.inf)
  np.testing.assert_array_equal(group[gaps.argmin(1)], group)
  np.testing.assert_array_equal(embedding.tsne(latents), places)


@pytest.mark.parametrize("shape", [(4, 1), (4, 100), (5, 2), (30, 3)])
def test_any_number_of_latents_has_places(shape):
  latents = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  assert np.isfinite(embedding.tsne(latents)).all()


@pytest.mark.parametrize("latents", [np.zeros((3, 2)), np.ones((9, 4))])
def test_too_little_has_no_plane(latents):
  assert embedding.tsne(latents.astype(np.float32)) is None
