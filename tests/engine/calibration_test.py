"""Held-out normal images are scored once, by the trained model."""

import dataclasses

import numpy as np

from medad_jax.data import index
from medad_jax.engine import calibration, train, trained
from medad_jax.engine import config as configuration
from medad_jax.methods import ae
from medad_jax.training import Length
from tests import tiny


def model_of(workdir):
  """An autoencoder that has not seen the rows."""
  method = ae.Method(4, 3, 8, length=Length(1, 8))
  settings = tiny.run(
    workdir, tiny.feed(), pools=index.hold_out(tiny.pools(), 0.25)
  )
  states = train.train(method.phases(), settings)
  config = configuration.with_hyper(
    configuration.defaults("ae"), {"data.image_size": tiny.SHAPE[0]}
  )
  return trained.Trained(config, method, states, tiny.devices())


def test_scores_of_held_out_images_stay_with_the_checkpoints(tmp_path):
  rows = index.hold_out(tiny.pools(), 0.25)[index.HELD_OUT]
  model, images = model_of(tmp_path), tiny.images()
  assert calibration.load(tmp_path) is None
  calibration.keep(model, images, rows, tmp_path)
  found = calibration.load(tmp_path)
  np.testing.assert_array_equal(found.rows, rows)
  expected = model.score(images[rows]).scores.image
  for name, values in expected.items():
    np.testing.assert_array_equal(found.scores[name], values)
  # A later start finds them and does not score again.
  useless = dataclasses.replace(model, states={})
  calibration.keep(useless, images, rows, tmp_path)


def test_nothing_is_kept_where_nothing_is_held_out(tmp_path):
  method = ae.Method(4, 3, 8)
  useless = trained.Trained({}, method, {}, tiny.devices())
  calibration.keep(useless, tiny.images(), np.arange(0), tmp_path)
  assert calibration.load(tmp_path) is None
