"""Whole protocols from measured pieces."""

import numpy as np
import pytest

from benchmarks import protocol, sides
from benchmarks.protocol import Part, Protocol
from configs import rsna_ddad


def test_steps_of_rsna():
  """The published counts (arXiv 2210.04227), images without a batch dropped."""
  given = Protocol()
  assert given.unknown_steps == 30_500
  assert given.normative_steps == 15_000
  assert given.ensemble_steps == 136_500
  assert given.refine_steps == 48_100
  assert given.images("ensembles") == 136_500 * 64


def test_members_that_share_a_program_take_all_steps():
  given = Protocol()
  six, three = given.together()
  assert 6 * six.whole + 3 * three.whole == given.ensemble_steps


def test_members_of_one_length_share_one_program():
  (part,) = Protocol(normal=64, unlabelled=8).together()
  assert part.whole == 250


def test_numbers_are_those_of_the_configuration():
  config, given = rsna_ddad.get_config(), Protocol()
  assert config.data.extra == given.unlabelled
  assert config.data.image_size == given.size
  assert config.ensemble.size == given.members
  assert (config.train.epochs, config.train.batch_size) == (
    given.epochs,
    given.batch,
  )
  assert (config.refine.epochs, config.refine.batch_size) == (
    given.refine_epochs,
    given.refine_batch,
  )


def test_a_phase_is_its_parts_units_times_seconds():
  one, other = Part("a", "one", 100), Part("a", "other", 10, "images")
  racer = type("Racer", (), {"name": "ours", "parts": [one, other]})
  times = sides.Times([racer])
  for turn in (1, 2):
    times.add("ours", one, units=4, seconds=2.0 * turn)
    times.add("ours", other, units=5, seconds=1.0)
  assert times.of_phase("ours", "a") == pytest.approx([52.0, 102.0])
  assert times.units["ours"] == {one: 8, other: 10}


def test_images_are_all_different_and_the_same_every_time():
  images = protocol.generate(20, 30, seed=0)
  assert images.shape == (20, 30, 30) and images.dtype == np.uint8
  assert len(np.unique(images.reshape(20, -1), axis=0)) == 20
  np.testing.assert_array_equal(images, protocol.generate(20, 30, seed=0))
