"""CLAHE against scikit-image itself, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage import data, exposure, transform

from medad_jax.scoring import clahe, smoothing
from tests.golden import cases

SIDES = (32, 64, 128, 256)


@pytest.fixture(scope="module")
def equalize():
  return jax.jit(clahe.equalize)


def images(side: int) -> dict[str, np.ndarray]:
  """Images in [0, 1] of many kinds, float32."""
  rng = np.random.RandomState(side)
  rows, columns = np.mgrid[:side, :side]
  camera = transform.resize(data.camera(), (side, side))
  waves = 0.5 + 0.5 * np.sin(0.1 * rows) * np.cos(0.15 * columns)
  found = {
    "camera": camera,
    "noise": rng.uniform(0, 1, (side, side)),
    "waves": waves,
    "ramp": columns / (side - 1),
    "few levels": np.floor(5 * camera) / 5,
    "nearly constant": 0.5 + 1e-4 * rng.uniform(0, 1, (side, side)),
    "checkers": np.where((rows + columns) % 2, 0.5, 0.25),
    "one pixel": (rows + columns == 3).astype(float),
    "dark and bright": np.where(columns < side // 2, 0.1 * waves, 1 - waves),
    # The middle of the range, where levels lie between whole ones.
    "ties": rng.randint(0, 7, (side, side)) / 6,
    **{
      f"constant {value}": np.full((side, side), value) for value in (0, 0.2, 1)
    },
  }
  return {name: value.astype(np.float32) for name, value in found.items()}


@pytest.mark.parametrize("side", SIDES)
def test_it_is_the_librarys(side, equalize):
  given = images(side)
  found = equalize(jnp.stack(list(given.values())))
  assert found.dtype == jnp.float32
  for (name, image), got in zip(given.items(), found, strict=True):
    wanted = exposure.equalize_adapthist(image)
    np.testing.assert_array_equal(got, wanted, err_msg=name)


def test_other_sides_differ_by_a_level_at_most(equalize):
  # Of a constant image a level would be everything.
  given = {k: v for k, v in images(48).items() if np.ptp(v)}
  found = equalize(jnp.stack(list(given.values())))
  for (name, image), got in zip(given.items(), found, strict=True):
    wanted = exposure.equalize_adapthist(image)
    np.testing.assert_allclose(got, wanted, atol=2 / 16383, err_msg=name)


def test_ties_are_rounded_as_the_librarys_float64():
  """All middles between two levels, by the quotients that give them."""
  k = np.arange(16383)
  exact = np.rint((2 * k + 1) / 32766 * 16383.0) - k
  np.testing.assert_array_equal(clahe._ties(), exact)
  assert 0 < exact.mean() < 1


def test_cases_of_the_reference(equalize):
  rows, columns = np.mgrid[:128, :128]
  noise = cases.uniform("ra_map/noise", (128, 128))
  given = np.stack(
    [
      np.full((128, 128), 0.5),
      np.where((rows + columns) % 2, 0.5, 0.25),
      columns / 127,
      noise,
    ]
  )
  found = equalize(jnp.asarray(given, jnp.float32))
  wanted = cases.load("ra_map")["clahe_cases"]
  np.testing.assert_array_equal(found[:, ::4, ::4], wanted)


def test_sides_must_fit_the_tiles():
  with pytest.raises(ValueError, match="40x48 are not multiples of 16"):
    clahe.equalize(jnp.zeros((2, 40, 48)))


@pytest.mark.parametrize("deviation", [0.5, 2.0, 9.0])
def test_smoothing_is_scipys(deviation):
  maps = np.random.RandomState(0).uniform(0, 1, (3, 24, 20))
  with jax.enable_x64(True):
    found = smoothing.gaussian(jnp.asarray(maps), deviation)
  for got, one in zip(found, maps, strict=True):
    wanted = ndimage.gaussian_filter(one, deviation)
    np.testing.assert_allclose(got, wanted, rtol=1e-12)
