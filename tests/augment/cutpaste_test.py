"""Patches and scars have the published sizes, places and effects."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from medad_jax import rng, types
from medad_jax.augment import cutpaste
from medad_jax.augment.jitter import jitter

SIDE = 224
FREE = np.sqrt(1 / 12)  # the deviation of a uniform share


@pytest.fixture(scope="module")
def wave():
  """A disc with a wave in it on black, gray in three channels."""
  y, x = np.mgrid[:SIDE, :SIDE]
  disc = (y - 111.5) ** 2 + (x - 111.5) ** 2 <= 100**2
  wave = np.sin(2 * np.pi * y / 37) * np.cos(2 * np.pi * x / 29)
  gray = np.where(disc, np.floor(128 + 60 * wave), 0)
  return jnp.asarray(np.repeat(gray[..., None], 3, -1), jnp.float32)


@pytest.mark.parametrize(
  # Mean (and deviation) of the changed share and of the mean |difference|, in
  # 4000 draws of the published code.
  ("transform", "changed", "difference"),
  [
    (cutpaste.patch, (0.0837, 0.0372), (4.37, 2.37)),
    (cutpaste.scar, (0.00288, 0.00171), (0.215, 0.183)),
  ],
)
def test_effect_is_the_published_one(wave, transform, changed, difference):
  n = 600
  got = _each(lambda key: transform(key, wave, 0.0).astype(jnp.uint8), n)
  change = abs(got.astype(np.int16) - np.asarray(wave, np.int16))[..., 0]
  effects = (change > 0).mean((1, 2)), change.mean((1, 2))
  for values, (mean, deviation) in zip(
    effects, (changed, difference), strict=True
  ):
    error = deviation * np.sqrt(1 / n + 1 / 4000)
    assert abs(values.mean() - mean) < 3 * error
    assert 0.85 < values.std() / deviation < 1.15


def test_patches_have_the_published_sizes_and_places(monkeypatch):
  # The corner stands for the pixels from there on.
  monkeypatch.setattr(cutpaste, "_taken", lambda image, corner, frame: corner)
  monkeypatch.setattr(cutpaste, "jitter", lambda key, piece, *_: piece)
  black = jnp.zeros((SIDE, SIDE, 3))
  draws = inspect.unwrap(cutpaste.cut)
  corner, size = _each(lambda key: draws(key, black, 0.1), 20_000)
  assert size.min() >= 17 and size.max() <= 158
  assert size.min() < 22 and size.max() > 145
  share = size.prod(1) / SIDE**2
  assert abs(share.mean() - 0.085) < 4 * 0.13 * FREE / np.sqrt(20_000)
  assert abs(share.std() - 0.13 * FREE) < 0.001
  aspect = np.log(size[:, 1] / size[:, 0]) / np.log(1 / 0.3)
  assert abs(aspect.mean()) < 4 * 2 * FREE / np.sqrt(20_000)
  assert abs(aspect.std() - 2 * FREE) < 0.01
  assert abs(np.corrcoef(share, aspect)[0, 1]) < 0.03
  _assert_uniform((corner + 0.5) / (SIDE - size))
  assert (corner <= SIDE - 1 - size).all()


def test_a_patch_is_moved_whole_to_a_uniform_place():
  image = _places(64)
  pasted = _each(lambda key: cutpaste.patch(key, image, 0.0), 2000)
  shares = []
  for shift in (pasted - np.asarray(image))[..., :2]:
    rows, columns = np.nonzero(shift.any(-1))
    if not len(rows):
      continue  # pasted where it was
    corner = np.array([rows.min(), columns.min()])
    size = np.array([rows.max(), columns.max()]) + 1 - corner
    assert len(rows) == size.prod()
    assert (shift[rows, columns] == shift[rows[0], columns[0]]).all()
    shares.append((corner + 0.5) / (64 - size))
  assert len(shares) > 1950
  _assert_uniform(np.array(shares))


def test_only_the_patch_is_jittered_and_by_itself():
  image = jax.random.randint(jax.random.key(5), (64, 64, 3), 0, 256)
  image = image.astype(float)
  key = jax.random.key(0)
  plain, size = cutpaste.cut(key, image, 0.0)
  jittered, _ = cutpaste.cut(key, image, 0.1)
  inside = np.s_[: size[0], : size[1]]
  want = jitter(rng.stream(key, "jitter"), plain[inside], 0.1)
  np.testing.assert_array_equal(jittered[inside], want)
  assert (want != plain[inside]).any()


def test_scars_have_the_published_sizes_angles_and_places(monkeypatch):
  def recorded(image, piece, corner, size, angle):
    start = piece[0, 0, :2]
    draws = jnp.concatenate([corner, size, angle[None], start])
    return image.at[0, :7, 0].set(draws)

  monkeypatch.setattr(cutpaste, "put_turned", recorded)
  n = 8000
  image = _places(SIDE)
  draws = _each(lambda key: cutpaste.scar(key, image, 0.0)[0, :7, 0], n)
  corner, size, angle, start = np.split(draws, [2, 4, 5], 1)
  for lengths, (low, high) in zip(size.T, ((10, 25), (2, 16)), strict=True):
    values, counts = np.unique(lengths, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(low, high + 1))
    want = np.where((values == low) | (values == high), 0.5, 1) / (high - low)
    assert (abs(counts / n - want) < 4 * np.sqrt(want / n)).all()
  degrees = np.rad2deg(angle[:, 0])
  assert degrees.min() >= -45 and degrees.max() < 45
  _assert_uniform(degrees[:, None] / 90 + 0.5)
  # Real lengths were drawn and rounded: half a pixel of freedom.
  _assert_uniform((start + 0.5) / (SIDE - size))
  turned = jax.vmap(cutpaste.turned_size)(size.astype(np.int32), angle[:, 0])
  # A row has room for the width, a column for the height.
  share = (corner + 0.5) / (SIDE - np.asarray(turned)[:, ::-1])
  _assert_uniform(share)


@pytest.mark.parametrize("size", [(10, 2), (17, 9), (25, 16), (12, 12)])
@pytest.mark.parametrize("degrees", [-44.9, -10, 0, 7.3, 31])
def test_scars_turn_and_grow_as_in_pillow(size, degrees):
  noise = np.random.RandomState(0).randint(1, 256, (*size, 3), np.uint8)
  scar = Image.fromarray(noise).convert("RGBA")
  scar = scar.rotate(degrees, expand=True)
  want = Image.new("RGB", (64, 64))
  want.paste(scar, (37, 45), mask=scar.split()[-1])  # beyond the lower border
  lengths, angle = jnp.asarray(size), jnp.float32(np.deg2rad(degrees))
  height, width = cutpaste.turned_size(lengths, angle)
  assert (width, height) == scar.size
  frame = jnp.zeros((26, 17, 3)).at[: size[0], : size[1]].set(noise)
  got = cutpaste.put_turned(
    jnp.zeros((64, 64, 3)), frame, jnp.array([45, 37]), lengths, angle
  )
  differ = (np.asarray(got) != np.asarray(want)).any(-1).sum()
  assert differ <= 0.02 * size[0] * size[1]


@pytest.mark.parametrize("corner", [(-5, 3), (30, -9), (40, 40), (-20, 0)])
def test_what_is_put_beyond_the_border_is_lost(corner):
  piece = np.arange(1, 12 * 10 + 1).reshape(12, 10, 1)
  want = np.zeros((32, 32, 1))
  for row in range(9):
    for column in range(7):
      y, x = corner[0] + row, corner[1] + column
      if 0 <= y < 32 and 0 <= x < 32:
        want[y, x] = piece[row, column]
  got = cutpaste.put(
    jnp.zeros((32, 32, 1)),
    jnp.asarray(piece, jnp.float32),
    jnp.array(corner),
    jnp.array([9, 7]),
  )
  np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("side", [32, 50, 64])
@pytest.mark.parametrize(
  ("transform", "share"), [(cutpaste.patch, 0.085), (cutpaste.scar, 0.0031)]
)
def test_shares_do_not_depend_on_the_side(transform, share, side):
  gray = jax.random.randint(jax.random.key(1), (side, side, 1), 1, 255)
  gray = jnp.repeat(gray.astype(float), 3, -1)
  keys = jax.random.split(jax.random.key(0), 200)
  got = np.asarray(jax.jit(jax.vmap(transform, (0, None)))(keys, gray))
  np.testing.assert_array_equal(got, np.repeat(got[..., :1], 3, -1))
  np.testing.assert_array_equal(got, np.clip(np.round(got), 0, 255))
  # A whole pixel is much to a scar of a small image.
  assert 0.8 < (got != gray).any(-1).mean() / share < 1.25


@pytest.mark.parametrize("shape", [(64, 64, 1), (64, 48, 3), (31, 31, 3)])
@pytest.mark.parametrize("transform", [cutpaste.patch, cutpaste.scar])
def test_other_images_are_refused_with_advice(transform, shape):
  with pytest.raises(types.UserError, match=r"square RGB.*data.image_size"):
    transform(jax.random.key(0), jnp.zeros(shape))


def _each(function, count):
  """The results for so many keys, as NumPy arrays."""
  keys = jax.random.split(jax.random.key(0), count)
  mapped = jax.jit(lambda keys: jax.lax.map(function, keys, batch_size=40))
  return jax.tree.map(np.asarray, mapped(keys))


def _places(side):
  """An image that holds each pixel's row and column."""
  rows, columns = jnp.mgrid[:side, :side]
  return jnp.stack([rows, columns, rows], -1).astype(jnp.float32)


def _assert_uniform(shares):
  """Columns of numbers in 0 .. 1, each uniform and none like another."""
  n, columns = shares.shape
  assert shares.min() > 0 and shares.max() < 1.01
  assert np.all(abs(shares.mean(0) - 0.5) < 4 * FREE / np.sqrt(n))
  quarters = np.stack([np.histogram(c, 4, (0, 1))[0] for c in shares.T])
  assert (abs(quarters / n - 0.25) < 4 * np.sqrt(0.19 / n) + 0.004).all()
  if columns > 1:
    assert abs(np.corrcoef(shares.T)[0, 1]) < 4 / np.sqrt(n)
