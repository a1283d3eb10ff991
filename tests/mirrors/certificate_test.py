"""Every method's nets are those in PyTorch, layer by layer and score by score.

It takes minutes, and PyTorch, which the tests do without elsewhere.
"""

import dataclasses
import json
from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("torch")
from medad_jax.data import spec
from medad_jax.engine import (
  certificate,
  importing,
  members,
  trained,
)
from medad_jax.engine import config as configuration
from medad_jax.methods import (
  ddad,
  dpa,
  fanogan,
  ganomaly_original,
  memae_2d,
  piad,
  ra,
)
from medad_jax.report.parity import Parity, Row
from medad_jax.types import Fit, Pretrained
from tests import tiny
from tests.golden import cases, filler, imported
from tests.methods import published


def case_of(name: str) -> tuple[Any, dict[str, list[filler.State]]]:
  """The method and the files of a golden case."""
  shapes = cases.load(name)["shapes"]
  if name not in published.DDAD:
    return published.ALL[name], {"checkpoint": [filler.named(name, shapes)]}
  refine = filler.named("ddad_refine", cases.load("ddad_refine")["shapes"])
  states = [filler.named(f"{name}/{i}", shapes) for i in range(4)]
  method = ddad.Method(backbone=published.DDAD[name], ensemble=ddad.Ensemble(2))
  return method, {"udm": states[:2], "ndm": states[2:], "refine": [refine]}


# As wide as published; the others are small nets with random weights.
GOLDEN = [
  *(*published.DDAD, *published.RECONSTRUCTION),
  *("recon_dae_unet", "recon_ganomaly"),
]
SMALL = {
  "nsa": (published.ALL["ssl_encdec_sigmoid"], (64, 64, 1), {"width": 8}),
  "cutpaste_2s": (published.ALL["ssl_projection"], (32, 32, 3), {"width": 8}),
  "dpa": (dpa.Method(weights="random", l1_weight=0.5), (16, 16, 1), {}),
  "piad": (piad.Method(weights="random"), (16, 16, 3), {"latent": 8}),
  "ra": (
    ra.Method(weights="random", widths=(8, 16, 16), latent=8, draws=2),
    (32, 32, 1),
    {},
  ),
  "fanogan": (fanogan.Method(width=4, latent=8), (16, 16, 1), {}),
  "ganomaly_original": (
    ganomaly_original.Method(width=4, latent=8),
    (16, 16, 1),
    {},
  ),
  "memae_2d": (
    memae_2d.Method(channels=(8, 16), slots=20, threshold=0.05),
    (16, 16, 1),
    {},
  ),
}


def certified(method, shape, given, folder, more=None) -> Parity:
  """The certificate of a model of these files, on made-up images."""
  sources = imported.sources(method, shape, given, folder)
  settings = imported.settings_of(shape)
  arrays = [s.found.read(s.slot.file, s.variables) for s in sources]
  states = importing.states_of(settings, method, sources, arrays)
  states |= _others(method, settings, more or {})
  name = type(method).__module__.rpartition(".")[2]
  backbone = getattr(method, "backbone", None)
  inner = backbone and type(backbone).__module__.rpartition(".")[2]
  config = configuration.defaults(name, inner)
  config["data"] |= {"image_size": shape[0], "channels": shape[2]}
  model = trained.Trained(config, method, states, tiny.devices())
  images = tiny.images(6, shape=shape)
  names = tuple(map(str, range(6)))
  split = spec.Split(images, np.arange(6) % 2, names)
  return certificate.compare(model, sources, split, folder)


def _others(method, settings, more):
  """States of the stages that no file holds."""
  trials, found = members.seeds(0, 1), dict(more)
  for stage in method.phases():
    if isinstance(stage, Pretrained) and stage.name not in found:
      found[stage.name] = members.init_states(
        stage, trials, settings.data.shape
      )
    if isinstance(stage, Fit):
      rng = np.random.default_rng(0)
      size = 8 * method.width
      whitening = rng.normal(size=(1, size, size)) / size
      params = {"mean": rng.normal(size=(1, size)), "whitening": whitening}
      params = jax.tree.map(lambda x: x.astype(np.float32), params)
      state = cases.state_of(None, None)
      found[stage.name] = dataclasses.replace(
        jax.tree.map(lambda x: x[None], state), params=params, extra={}
      )
  return found


def check(found, folder):
  print(found.sentence())  # pytest -rP shows it
  assert found.holds, found.sentence()
  kinds = {row.kind for row in found.rows}
  assert {"layer", "score"} <= kinds
  written = json.loads((folder / "parity.json").read_text())
  assert written["holds"] and len(written["rows"]) == len(found.rows)
  page = (folder / "parity.md").read_text()
  assert all(f"| {row.name} |" in page for row in found.rows[:3])


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_nets_are_pytorchs(name, tmp_path):
  method, given = case_of(name)
  more = {}
  if name == "recon_ae_perceptual":
    more["features"] = jax.tree.map(lambda x: x[None], published.features())
  shape = published.images(name).shape[1:]
  if name == "recon_dae_unet":
    shape = (64, 64, 1)  # the same net
  found = certified(method, shape, given, tmp_path, more)
  check(found, tmp_path)
  # Every convolution and dense layer that tests use was compared.
  layers = {row.name for row in found.rows if row.kind == "layer"}
  modules = {
    key.rpartition(".")[0]
    for states in given.values()
    for key in states[0]
    if not key.startswith("netd.")
  }
  assert layers == modules


@pytest.mark.parametrize("name", SMALL)
def test_small_nets_are_pytorchs(name, tmp_path):
  method, shape, changes = SMALL[name]
  method = dataclasses.replace(method, **changes)
  given = {"checkpoint": [random_state(method, shape)]}
  check(certified(method, shape, given, tmp_path), tmp_path)


def test_a_mistake_is_found(tmp_path):
  """PyTorch's net with one other number."""
  method, shape, _ = SMALL["fanogan"]
  state = random_state(method, shape)
  sources = imported.sources(method, shape, {"checkpoint": [state]}, tmp_path)
  assert sources
  row = Row("score", "seed 0", "rec", 2e-5, 1.0, 2e-5, 1e-6)
  assert not row.within(1e-5)
  assert dataclasses.replace(row, rounding=1e-5).within(1e-5)
  assert not Parity("ae", "x", 1, {}, {}, []).holds


def random_state(method, shape):
  """A `state_dict` of random numbers for a method."""
  settings = imported.settings_of(shape)
  (file,) = method.files(shape)
  (slot,) = importing.torch_states.slots([file], method, members.seeds(0, 1))
  flat = importing._shapes(settings, method)
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    size = (1, *leaf.shape)
    if path.endswith(("var", "scale")):
      return rng.uniform(0.5, 1.5, size).astype(np.float32)
    fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 100
    return (rng.normal(size=size) / np.sqrt(fan_in)).astype(np.float32)

  numbers = {path: draw(path, leaf) for path, leaf in flat.items()}
  return importing.torch_states.to_torch(slot, numbers, None)
