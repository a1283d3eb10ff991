"""Parameters and multiply-adds of a method, counted from its program."""

import pytest

from configs import _tables
from medad_jax.engine import comparison, costs, members, trained
from medad_jax.engine import config as configuration
from tests import tiny


@pytest.mark.parametrize(
  ("name", "macs"),
  [
    # Of the architecture, layer by layer: convolutions and products alone.
    ("constrained-ae", 13_139_968),
    ("ae-spatial", 13_631_488),
    ("aeu", 13_402_112),
  ],
)
def test_multiply_adds_of_one_image(name, macs):
  row = _tables.Row("", "", "reconstruction", f"brain/{name}")
  config = comparison.configured(row, {"seeds": 2})
  method = configuration.build_method(config)
  trials = members.seeds(0, 2)
  states = {
    stage.name: members.abstract_states(stage, trials, (64, 64, 1), {})
    for stage in method.phases()
  }
  model = trained.Trained(config, method, states, tiny.devices())
  assert costs.macs(model) == macs
