"""Training views: their texts, golden numbers, and what moves together."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.augment import geometry, views
from medad_jax.types import UserError

GOLDEN = Path(__file__).parent.parent / "golden" / "ra_prep.npz"
KEY = jax.random.key(3)


def rows(count=6, side=12, dtype=np.uint8, **more):
  """Stored images whose pixels are all different, and their places."""
  levels = np.arange(count * side * side) % 251 + 1
  image = levels.reshape(count, side, side, 1).astype(dtype)
  return {"slot": jnp.arange(count), "image": jnp.asarray(image), **more}


def view(text, given, size=8, stored=12):
  found = views.parse(text, size, stored)(KEY, given)
  return jax.tree.map(np.asarray, found)


def test_images_that_are_fed_as_they_are_stored_have_no_view():
  assert views.parse("", 12, 12) is None
  assert views.parse(" ", 8, 12).steps == ()


@pytest.mark.parametrize(
  "text, sentence",
  [
    ("blur", "has 'blur', which is no step.*flip_vertical"),
    ("flip,", "has '', which is no step"),
    ("flip:1", "has 'flip:1'"),
    ("affine", "has 'affine'"),
    ("affine:10:0.1", "has 'affine:10:0.1'"),
    ("affine:10:0.1:nan", "has 'affine:10:0.1:nan'"),
    ("affine:181:0:0", "up to 180"),
    ("affine:-1:0:0", "up to 180"),
    ("affine:0:0.6:0", "0.5 and 0.5"),
    ("affine:0:0:0.6", "0.5 and 0.5"),
  ],
)
def test_another_text_is_refused_in_a_sentence(text, sentence):
  with pytest.raises(UserError, match=sentence):
    views.parse(text, 8, 12)


def test_a_crop_of_what_is_not_larger_is_refused():
  with pytest.raises(UserError, match="crops, but.*data.stored_size to more"):
    views.parse("flip,crop", 12, 12)


@pytest.mark.parametrize("row", range(4))
def test_the_draws_of_ra_give_its_images(row, monkeypatch):
  """From the stored fractions on, as the steps of a text."""
  with np.load(GOLDEN) as golden:
    levels = 255 * golden["eval_resized"][None, ..., None]
    angle, x, y, scale, whether = map(jnp.float32, golden["draws"][row])
    expected = golden["uint8_augmented"][row]

  def affine(key, image, *limits):
    assert limits == (10, 0.1, (0.9, 1.1))
    return geometry.affine(image, angle, x, y, scale)

  monkeypatch.setattr(geometry, "random_affine", affine)
  monkeypatch.setattr(
    geometry,
    "random_flip",
    lambda key, image, axis: geometry.flip(image, whether > 0.5, axis),
  )
  given = {"slot": jnp.arange(1), "image": jnp.asarray(levels)}
  found = view("truncate,affine:10:0.1:0.1,flip", given, 128, 128)["image"]
  assert found.dtype == np.float32
  assert np.mean(found[0, ..., 0] != expected) < 1e-3


def test_without_a_step_the_middle_is_seen():
  given = rows()
  found = view("", given)
  np.testing.assert_array_equal(found["image"], given["image"][:, 2:10, 2:10])
  np.testing.assert_array_equal(found["slot"], given["slot"])


def test_what_belongs_to_an_image_moves_with_it_and_a_second_one_does_not():
  given = rows()
  given |= {
    "source": given["image"],
    "anatomy": given["image"][..., 0] > 100,
    "organ": jnp.arange(6),
  }
  found = view("affine:20:0.2:0.2,flip,flip_vertical,crop", given)
  inside = found["image"][..., 0] > 0  # black comes in from outside
  np.testing.assert_array_equal(
    found["anatomy"], (found["image"][..., 0] > 100) & inside
  )
  assert found["source"].shape == (6, 8, 8, 1)
  assert (found["source"] != found["image"]).any((1, 2, 3)).all()
  np.testing.assert_array_equal(found["organ"], given["organ"])


def test_fractions_are_cut_off_and_other_arrays_keep_theirs():
  image = rows(dtype=np.float32)["image"] + 0.75
  given = rows() | {"image": image, "weight": image[..., 0]}
  found = view("truncate", given, 12)
  np.testing.assert_array_equal(found["image"], np.floor(image))
  np.testing.assert_array_equal(found["weight"], image[..., 0])


def test_draws_are_the_examples_own_wherever_they_are_computed():
  given = rows()
  whole = view("flip,flip_vertical,crop", given)["image"]
  half = jax.tree.map(lambda x: x[3:], given)
  found = view("flip,flip_vertical,crop", half)["image"]
  np.testing.assert_array_equal(found, whole[3:])
  # Drawn once, an image has the same view in every step and place.
  given["id"] = jnp.arange(6)
  once = view("once,flip,flip_vertical,crop", given)["image"]
  moved = jax.tree.map(lambda x: x[::-1], given) | {"slot": given["slot"]}
  found = views.parse("once,flip,flip_vertical,crop", 8, 12)(
    jax.random.key(9), moved
  )
  np.testing.assert_array_equal(found["image"], once[::-1])
  # The same image at another place of the batch is seen in another way.
  same = given | {"image": jnp.repeat(given["image"][:1], 6, 0)}
  assert len(np.unique(view("crop,flip", same)["image"], axis=0)) > 3
