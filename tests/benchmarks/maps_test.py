"""Which images are shown of several runs, and on which scale."""

import numpy as np
import pytest

from benchmarks import maps
from medad_jax.engine import scorer
from medad_jax.types import Scores, UserError

LABELS = np.repeat([0, 1], 5)


def pictures(seed, side=16):
  """Ten pictures of slow waves, [10 side side 1]."""
  phase = np.random.default_rng(seed).uniform(0, 6, (10, 1, 1, 2))
  at = 2 * np.pi * (np.arange(side) + 0.5) / side
  waves = np.sin(at[:, None] + phase[..., 0]) + np.sin(at + phase[..., 1])
  values = (waves + 2) / 4
  return np.round(255 * values / values.max()).astype(np.uint8)[..., None]


def judged(
  run, masks=True, reconstructed=True, names="abcdefghij", images=None
):
  """Ten images whose map is their score, in the order of the labels."""
  scores = np.array([4, 0, 1, 2, 3, 9, 5, 8, 7, 6], np.float32)
  shape = (10, 1, 16, 16)
  found = Scores(
    {"first": -scores[:, None], "last": scores[:, None]},
    {"last": np.broadcast_to(scores[:, None, None, None], shape).copy()},
    -np.ones((*shape, 1)) if reconstructed else None,
  )
  return maps.Judged(
    run,
    "last",
    pictures(0) if images is None else images,
    LABELS,
    tuple(names),
    np.zeros((10, 16, 16), bool) if masks else None,
    scorer.Scored(found),
  )


def test_rows_go_from_the_lowest_to_the_highest_score_of_each_class():
  one, other = judged("one"), judged("other", reconstructed=False)
  rows, shown = maps.columns([one, other])
  assert one.scores[rows].tolist() == [0, 1, 3, 4, 5, 6, 8, 9]
  assert list(shown) == [
    *("image", "mask", "one: x_hat", "one: last", "other: last"),
  ]
  assert shown["image"].max() == 1
  assert not shown["one: x_hat"].any()
  map_ = shown["one: last"][:, 0, 0]
  np.testing.assert_array_equal(map_, one.scores[rows])


def test_a_few_bright_pixels_do_not_darken_the_others():
  one = judged("one", masks=False)
  one.found.scores.maps["last"][1, 0, 0, 0] = 1000
  _, shown = maps.columns([one])
  assert shown["one: last"].max() == 9
  assert "mask" not in shown


def test_runs_of_other_images_are_refused():
  with pytest.raises(UserError, match="two and one have different test images"):
    maps.columns([judged("one"), judged("two", names="abcdefghiz")])


def test_images_of_another_size_are_shown_beside_each_other():
  one, large = judged("one"), judged("large", images=pictures(0, side=32))
  _, shown = maps.columns([one, large])
  assert list(shown)[-1] == "large: last"


def test_other_images_of_the_same_names_are_refused():
  other = judged("other", images=pictures(1, side=32))
  with pytest.raises(UserError, match="is one picture to one and another to"):
    maps.columns([judged("one"), other])
