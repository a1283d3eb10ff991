"""Medians are numpy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.augment.nsa import medians


def brute(image, footprint):
  """Of the footprint around each pixel, the border repeated."""
  half = len(footprint) // 2
  padded = np.pad(image, half, mode="edge")
  windows = np.lib.stride_tricks.sliding_window_view(padded, footprint.shape)
  return np.median(windows[..., footprint], -1)


@pytest.mark.parametrize("side", [5, 7])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_box_median(side, share):
  image = np.random.RandomState(side).rand(24, 31) < share
  got = medians.box_median(jnp.asarray(image), side)
  np.testing.assert_array_equal(got, brute(image, np.ones((side, side), bool)))


@pytest.mark.parametrize("levels", [2, 20, 256])
def test_disk_median(levels):
  widths = [1, 7, 9, 9, 9, 11, 9, 9, 9, 7, 1]  # 81 pixels, as published
  footprint = np.array([abs(np.arange(-5, 6)) <= w // 2 for w in widths])
  image = np.random.RandomState(levels).randint(0, levels, (23, 30))
  image[:9] = levels - 1
  got = jax.jit(medians.disk_median, static_argnums=1)(
    jnp.asarray(image, jnp.uint8), 5
  )
  np.testing.assert_array_equal(got, brute(image, footprint))
