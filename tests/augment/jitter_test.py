"""Color jitter is torchvision's on Pillow images."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageEnhance
import pytest

from medad_jax import types
from medad_jax.augment import jitter as jitter_lib
from medad_jax.augment.jitter import BRIGHTNESS, CONTRAST, SATURATION, jitter

_ENHANCERS = {
  BRIGHTNESS: ImageEnhance.Brightness,
  CONTRAST: ImageEnhance.Contrast,
  SATURATION: ImageEnhance.Color,
}


@pytest.fixture(scope="module")
def photo():
  """Uniform noise, in stripes of dark, saturated and nearly gray pixels."""
  image = np.random.RandomState(0).randint(0, 256, (128, 128, 3))
  image[:32] //= 5
  image[32:64, :, 1] = image[32:64, :, 0]
  image[64:96] = image[64:96, :, :1] + image[64:96] // 40
  return np.minimum(image, 255).astype(np.uint8)


def test_luminance_is_that_of_pillow(photo):
  want = np.asarray(Image.fromarray(photo).convert("L"))
  np.testing.assert_array_equal(jitter_lib.luminance(_planes(photo)), want)


@pytest.mark.parametrize("kind", _ENHANCERS)
def test_blends_are_those_of_pillow(photo, kind):
  blend = jax.jit(jitter_lib.blend)
  for factor in np.float32([0.9137, 1, 1.0871]):
    got = blend(_planes(photo), jnp.asarray(kind), factor)
    want = _ENHANCERS[kind](Image.fromarray(photo)).enhance(float(factor))
    _assert_differ_seldom(got, want, share=1e-3)


@pytest.mark.parametrize("turn", [-0.0983, -0.02, 0, 0.0519])
def test_hue_is_that_of_pillow(photo, turn):
  got = jax.jit(jitter_lib.hue)(_planes(photo), jnp.float32(turn))
  want = _turned(Image.fromarray(photo), turn)
  # Pillow's own float32 loses a level of hue or saturation now and then.
  _assert_differ_seldom(got, want, share=3e-3)


@pytest.mark.parametrize("before", [0, 2, 3])
def test_changes_follow_their_order(photo, before):
  kinds = (SATURATION, BRIGHTNESS, CONTRAST)
  factors = np.float32([1.0871, 0.9137, 1.0619])
  want = Image.fromarray(photo)
  for place, kind in enumerate((*kinds, None)):
    if place == before:
      want = _turned(want, 0.0519)
    if kind is not None:
      want = _ENHANCERS[kind](want).enhance(float(factors[kind]))
  got = jax.jit(jitter_lib.change)(
    jnp.asarray(photo, jnp.float32),
    jnp.asarray(kinds),
    jnp.asarray(factors),
    jnp.float32(0.0519),
    jnp.asarray(before),
  )
  _assert_differ_seldom(jnp.moveaxis(got, -1, 0), want, share=1e-2)


def test_the_contrast_of_a_patch_is_that_of_the_patch_alone(photo):
  where = np.zeros(photo.shape[:2], bool)
  where[3:20, 10:50] = True
  factor = jnp.float32(0.9137)
  whole = jitter_lib.blend(
    _planes(photo), jnp.asarray(CONTRAST), factor, jnp.asarray(where)
  )
  patch = jitter_lib.blend(
    _planes(photo[3:20, 10:50]), jnp.asarray(CONTRAST), factor
  )
  np.testing.assert_array_equal(whole[:, 3:20, 10:50], patch)


def test_gray_stays_gray_and_integers_stay_integers(photo):
  gray = jnp.asarray(np.repeat(photo[..., :1], 3, -1), jnp.float32)
  keys = jax.random.split(jax.random.key(0), 8)
  got = np.asarray(jax.jit(jax.vmap(jitter, (0, None)))(keys, gray))
  np.testing.assert_array_equal(got, np.repeat(got[..., :1], 3, -1))
  np.testing.assert_array_equal(got, np.round(got))
  assert got.min() >= 0 and got.max() <= 255
  assert (got != gray).any((1, 2, 3)).all()


def test_factors_turns_and_orders_are_uniform(monkeypatch):
  def draws(image, kinds, factors, turn, before, where):
    rest = jnp.stack([turn, before.astype(float), 0.0])
    return jnp.stack([kinds.astype(float), factors, rest])[None]

  monkeypatch.setattr(jitter_lib, "change", draws)
  keys = jax.random.split(jax.random.key(0), 6000)
  drawn = jax.vmap(jitter, (0, None))(keys, jnp.zeros((1, 3, 3)))[:, 0]
  kinds, factors, rest = np.moveaxis(np.asarray(drawn), 1, 0)

  orders = list(itertools.permutations(range(3)))
  counts = np.zeros((6, 4))
  for kind, before in zip(kinds, rest[:, 1], strict=True):
    counts[orders.index(tuple(kind)), int(before)] += 1
  # Chi-squared of 23 degrees of freedom: its mean plus four deviations.
  assert ((counts - 250) ** 2).sum() / 250 < 23 + 4 * np.sqrt(46)

  for values, middle in ((factors, 1), (rest[:, 0], 0)):
    values = (values - middle) / 0.1
    assert values.min() >= -1 and values.max() < 1
    sizes = len(values), 0.577 / np.sqrt(len(values))
    assert np.all(abs(values.mean(0)) < 4 * sizes[1])
    assert np.all(abs(values.std(0) - 0.577) < 0.02)
  assert abs(np.corrcoef(factors.T)[np.triu_indices(3, 1)]).max() < 0.06


def test_no_strength_changes_nothing(photo):
  image = jnp.asarray(photo, jnp.float32)
  np.testing.assert_array_equal(jitter(jax.random.key(0), image, 0.0), image)


def test_wrong_use_is_explained():
  key = jax.random.key(0)
  with pytest.raises(types.UserError, match=r"\(32, 32, 1\).*3 channels"):
    jitter(key, jnp.zeros((32, 32, 1)))
  with pytest.raises(types.UserError, match=r"strength=0.6.*0 .. 0.5"):
    jitter(key, jnp.zeros((32, 32, 3)), 0.6)


def _planes(photo):
  return jnp.moveaxis(jnp.asarray(photo, jnp.float32), -1, 0)


def _turned(image, turn):
  hue, saturation, value = image.convert("HSV").split()
  shifted = (np.asarray(hue).astype(int) + int(255 * turn)) % 256
  hue = Image.fromarray(shifted.astype(np.uint8))
  return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def _assert_differ_seldom(planes, image, share):
  got = np.moveaxis(np.asarray(planes), 0, -1)
  assert np.mean(got != np.asarray(image)) < share
