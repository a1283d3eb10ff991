"""Grids of configurations, and which of them share a program."""

import pytest

from configs import _spaces
from medad_jax.engine import config as configuration
from medad_jax.engine import space
from medad_jax.types import UserError

AE = configuration.defaults("ae")


def test_points_that_differ_in_numbers_alone_share_a_program():
  axes = space.make(
    {
      "train.learning_rate": (1e-3, 0.01, 1),  # a whole rate is a number, too
      "model.latent+model.width": ((2, 4), (4, 8)),
    }
  )
  grid = space.points(AE, axes)
  assert len(grid) == 6
  groups = space.groups(AE, grid, most=64)
  assert [group.fixed["model.latent"] for group in groups] == [2, 4]
  for group in groups:
    rates = [hyper["train.learning_rate"] for hyper in group.hyper]
    assert rates == [1e-3, 0.01, 1.0]
    assert all(
      grid[n] == {**group.fixed, **hyper}
      for n, hyper in zip(group.numbers, group.hyper, strict=True)
    )
  assert len(space.groups(AE, grid, most=2)) == 4


def test_layers_of_one_network_are_scores_of_one_training():
  config = configuration.defaults("deep_if")
  texts = ["model.layer=concat,conv2d_1a", "model.side=75,99"]
  grid = space.points(config, [space.parse(text) for text in texts])
  groups = space.groups(config, grid, most=64)
  assert [group.fixed["model.side"] for group in groups] == [75, 99]
  assert [group.numbers for group in groups] == [(0, 2), (1, 3)]
  for group in groups:
    assert group.scores == ("forest_concat", "forest_conv2d_1a")
    whole = configuration.with_hyper(config, group.fixed)
    assert configuration.build_method(whole).score_names == group.scores
    assert group.hyper == ({},)


@pytest.mark.parametrize(
  ("text", "names", "values"),
  [
    ("train.b1=0.5,0.9", ("train.b1",), ((0.5,), (0.9,))),
    ("select=last,synthetic", ("select",), (("last",), ("synthetic",))),
    ("a+b=[1,2],[3,4]", ("a", "b"), ((1, 2), (3, 4))),
    (
      'model.layers=["x"],["y","z"]',
      ("model.layers",),
      ((["x"],), (["y", "z"],)),
    ),
  ],
)
def test_texts_are_axes(text, names, values):
  assert space.parse(text) == space.Axis(names, values)


@pytest.mark.parametrize(
  ("texts", "says"),
  [
    (["nothing"], "is no axis"),
    (["=1"], "is no axis"),
    (["train.learning_rat=1"], "is not a field .did you mean"),
    (["train.learning_rate=-1"], "train.learning_rate=-1.* was given"),
    (["train.b1=0", "train.b1=0.5"], "is on two axes"),
    (["model.latent+model.width=1,2"], "needs 2 values in brackets"),
    (["data.image_size=17"], "a multiple of 16"),
  ],
)
def test_a_wrong_axis_is_one_sentence(texts, says):
  with pytest.raises(UserError, match=says):
    space.points(AE, [space.parse(text) for text in texts])


@pytest.mark.parametrize("name", _spaces.SPACES)
def test_named_spaces_are_of_their_methods(name):
  method = name if name in ("piad", "deep_geo", "deep_if") else "dpa"
  axes = space.make(_spaces.SPACES[name])
  assert space.points(configuration.defaults(method), axes)
