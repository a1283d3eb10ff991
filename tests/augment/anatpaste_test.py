"""AnatPaste draws, blurs and blends as Pillow does, at the published places."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFilter
import pytest

from medad_jax import rng, types
from medad_jax.augment import anatpaste as anatpaste_lib
from medad_jax.augment import cutpaste
from medad_jax.augment.anatpaste import anatpaste

SIDE = 224
FREE = np.sqrt(1 / 12)  # the deviation of a uniform share


@pytest.fixture(scope="module")
def noise():
  """RGB noise of 64x64 pixels."""
  image = np.random.RandomState(0).randint(0, 256, (64, 64, 3))
  return jnp.asarray(image, jnp.float32)


@pytest.fixture(scope="module")
def anatomy():
  """A ring and a bar, of 64x64 pixels."""
  y, x = np.mgrid[:64, :64]
  radius = np.hypot(y - 30, x - 40)
  mask = ((radius > 6) & (radius < 15)) | ((x > 3) & (x < 9) & (y > 20))
  return jnp.asarray(mask)


def test_effect_without_anatomy_is_the_published_one():
  y, x = np.mgrid[:SIDE, :SIDE]
  disc = (y - 111.5) ** 2 + (x - 111.5) ** 2 <= 100**2
  wave = np.sin(2 * np.pi * y / 37) * np.cos(2 * np.pi * x / 29)
  gray = np.where(disc, np.floor(128 + 60 * wave), 0)
  image = jnp.asarray(np.repeat(gray[..., None], 3, -1), jnp.float32)
  nowhere = jnp.zeros((SIDE, SIDE), bool)
  n = 600
  got = _each(
    lambda key: anatpaste(key, image, nowhere, 0.0).astype(jnp.uint8), n
  )
  change = abs(got[..., 0].astype(int) - gray.astype(int))
  # Mean and deviation of 1500 draws of the published code.
  for values, mean, deviation in (
    ((change > 0).mean((1, 2)), 0.066, 0.054),
    (change.mean((1, 2)), 1.39, 1.24),
  ):
    error = deviation * np.sqrt(1 / n + 1 / 1500)
    assert abs(values.mean() - mean) < 3 * error
    assert 0.85 < values.std() / deviation < 1.15


@pytest.mark.parametrize("seed", range(4))
def test_blend_is_that_of_pillow(noise, anatomy, seed):
  key = jax.random.key(seed)
  piece, size = cutpaste.cut(rng.stream(key, "cut"), noise, 0.0)
  middle, where = anatpaste_lib.center(rng.stream(key, "center"), anatomy)
  opacity = anatpaste_lib.weight(rng.stream(key, "weight"), 64, middle, size)
  opacity = np.asarray(opacity * where, np.uint8)
  piece = _image(piece[: size[0], : size[1]]).convert("L").convert("RGB")
  canvas = Image.new("RGB", (64, 64))
  row, column = map(int, middle - size // 2)
  canvas.paste(piece, (column, row))
  want = Image.composite(canvas, _image(noise), Image.fromarray(opacity))
  got = anatpaste(key, noise, anatomy, 0.0)
  np.testing.assert_array_equal(got, np.asarray(want))
  assert (got != noise).any()
  np.testing.assert_array_equal(got[~anatomy], noise[~anatomy])


def test_the_piece_is_jittered_and_gray_stays_gray(noise, anatomy):
  gray = jnp.repeat(noise[..., :1], 3, -1)
  for key in jax.random.split(jax.random.key(0), 4):
    got = anatpaste(key, gray, anatomy)
    np.testing.assert_array_equal(got, np.repeat(got[..., :1], 3, -1))
    assert (got != anatpaste(key, gray, anatomy, 0.0)).any()


def test_centers_are_uniform_in_the_anatomy(anatomy):
  total = int(anatomy.sum())
  middle, where = _each(lambda key: anatpaste_lib.center(key, anatomy), 15_000)
  np.testing.assert_array_equal(where, np.broadcast_to(anatomy, where.shape))
  counts = np.zeros((64, 64))
  np.add.at(counts, tuple(middle.T), 1)
  assert not counts[~anatomy].any()
  want = 15_000 / total
  squares = ((counts[anatomy] - want) ** 2).sum() / want
  assert abs(squares - total) < 4 * np.sqrt(2 * total)


@pytest.mark.parametrize(("side", "end"), [(224, 255), (64, 73)])
def test_centers_without_anatomy_reach_beyond_the_image(side, end):
  nowhere = jnp.zeros((side, side), bool)
  middle, where = _each(lambda key: anatpaste_lib.center(key, nowhere), 4000)
  assert where.all()
  assert middle.min() == 0 and middle.max() == end - 1
  assert np.all(abs(middle.mean(0) - (end - 1) / 2) < 4 * end * FREE / 63)
  assert abs(np.corrcoef(middle.T)[0, 1]) < 4 / 63


def test_blurs_levels_and_shapes_are_drawn_as_published(monkeypatch):
  middle, size = jnp.array([112, 112]), jnp.array([100, 100])

  def recorded(drawn, sigma):
    # The corner of the rectangle, which the ellipse does not have.
    return drawn.at[0, :2].set(jnp.stack([sigma, drawn[112 - 40, 112 - 40]]))

  monkeypatch.setattr(anatpaste_lib, "blur", recorded)

  def draws(key):
    weight = anatpaste_lib.weight(key, SIDE, middle, size)
    return jnp.stack([weight[0, 0], weight[0, 1], weight[112, 112]])

  sigma, corner, level = _each(draws, 4000).T
  for values, low, high in ((sigma, 0, 14), (level, 150, 254)):
    found, counts = np.unique(values, return_counts=True)
    np.testing.assert_array_equal(found, np.arange(low, high + 1))
    want = 4000 / len(found)
    squares = ((counts - want) ** 2).sum() / want
    assert squares < len(found) + 4 * np.sqrt(2 * len(found))
  assert abs((corner > 0).mean() - 0.5) < 4 * 0.5 / 63
  np.testing.assert_array_equal(corner[corner > 0], level[corner > 0])
  assert abs(np.corrcoef(sigma, level)[0, 1]) < 4 / 63


@pytest.mark.parametrize("half", [(0, 0), (1, 30), (20, 7), (69, 69), (33, 3)])
@pytest.mark.parametrize("middle", [(112, 100), (3, 220), (230, 254)])
def test_shapes_are_those_of_pillow(half, middle):
  (y, x), (rows, columns) = middle, half
  box = (x - columns, y - rows, x + columns, y + rows)
  for oval, tolerance in ((False, 0), (True, 0.003)):
    want = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(want)
    (draw.ellipse if oval else draw.rectangle)(box, fill=1)
    want = np.asarray(want)
    got = anatpaste_lib.shape(
      SIDE, jnp.array(middle), jnp.array(half), jnp.array(oval)
    )
    # Pillow's thinnest ellipses end two pixels earlier or later.
    allowed = tolerance * SIDE**2 * want.mean() + 4 * oval
    assert (got != want).sum() <= allowed


def test_negative_axes_make_no_ellipse_and_a_rectangle_of_their_size():
  middle = jnp.array([30, 20])
  for half in ([-2, 5], [5, -2], [-2, -1]):
    oval, upright = (
      anatpaste_lib.shape(64, middle, jnp.array(half), jnp.array(kind))
      for kind in (True, False)
    )
    assert not oval.any()
    want = np.zeros((64, 64), bool)
    rows, columns = abs(half[0]), abs(half[1])
    want[30 - rows : 31 + rows, 20 - columns : 21 + columns] = True
    np.testing.assert_array_equal(upright, want)


@pytest.mark.parametrize("sigma", [0, 1, 2, 5, 9, 14])
def test_blur_is_that_of_pillow(sigma):
  image = Image.new("L", (SIDE, SIDE))
  draw = ImageDraw.Draw(image)
  # Beside the border, too, which is repeated.
  draw.rectangle((185, -20, 215, 60), fill=254)
  draw.ellipse((30, 80, 130, 150), fill=173)
  want = np.asarray(image.filter(ImageFilter.GaussianBlur(sigma)), float)
  got = anatpaste_lib.blur(
    jnp.asarray(np.asarray(image), jnp.float32), jnp.asarray(sigma)
  )
  assert abs(got - want).max() <= (1 if sigma else 0)


@pytest.mark.parametrize("side", [32, 50])
def test_small_images_work(side):
  image = jnp.asarray(
    np.random.RandomState(0).randint(1, 256, (side, side, 3)), jnp.float32
  )
  everywhere = jnp.ones((side, side), bool)
  got = _each(lambda key: anatpaste(key, image, everywhere), 200)
  np.testing.assert_array_equal(got, np.clip(np.round(got), 0, 255))
  changed = (got != np.asarray(image)).any(-1).mean((1, 2))
  assert 0.03 < changed.mean() < 0.15
  assert (changed > 0).mean() > 0.9


@pytest.mark.parametrize("shape", [(64, 64, 1), (64, 48, 3), (31, 31, 3)])
def test_other_images_are_refused_with_advice(shape):
  with pytest.raises(types.UserError, match=r"square RGB.*data.image_size"):
    anatpaste(jax.random.key(0), jnp.zeros(shape), jnp.ones(shape[:2], bool))


def _each(function, count):
  """The results for so many keys, as NumPy arrays."""
  keys = jax.random.split(jax.random.key(0), count)
  mapped = jax.jit(lambda keys: jax.lax.map(function, keys, batch_size=40))
  return jax.tree.map(np.asarray, mapped(keys))


def _image(array):
  return Image.fromarray(np.asarray(array).astype(np.uint8))
