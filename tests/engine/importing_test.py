"""Every method's PyTorch files become its states, and come out as they were."""

import dataclasses

import jax
import numpy as np
import pytest

from medad_jax.engine import importing, torch_states
from medad_jax.methods import (
  _constraint,
  ddad,
  dpa,
  fanogan,
  ganomaly_original,
  memae_2d,
  patchcore,
  piad,
  ra,
)
from medad_jax.types import UserError
from medad_jax.weights import tensor_file
from tests.golden import cases, filler, imported
from tests.golden import perceptual as golden
from tests.methods import published

INTENDED = _constraint.Constraint("intended", organ_width=10, modality_width=10)


def shape_of(case):
  config = golden.load(case)["config"]
  _, channels, side, _ = config.get("draw_shape") or config["images"][1]
  return side, side, channels


def small_piad():
  config = cases.load("piad_small")["config"]
  return piad.Method(
    channels=tuple(config["enc_inner_dims"]),
    decoder_channels=tuple(config["dec_inner_dims"]),
    latent=config["latent_dim"],
    critic_channels=tuple(config["ddis_inner_dims"]),
    latent_critic_channels=tuple(config["edis_inner_dims"]),
  )


# Methods and the images of the golden `state_dict`s that are their files, one
# of each net; `published.start` imports the others' for the golden tests.
MODELS = {
  **{
    name: (published.ALL[name], published.images(name).shape[1:])
    for name in (
      *("recon_ae", "recon_ae_rgb", "recon_ae_deep", "recon_ae_spatial"),
      *("recon_aeu", "recon_memae", "recon_vae", "recon_ganomaly"),
      *("ssl_encdec_sigmoid", "ssl_projection"),
    )
  },
  "ra_small": (
    ra.Method(widths=(8, 16, 32, 32), projected=False),
    (64, 64, 1),
  ),
  **{
    # Codes of one pixel and of several, without a critic and with one.
    case: (golden.dpa_method(case), shape_of(case))
    for case in (
      *("dpa_channel_rule", "dpa_camelyon_unsup_l1"),
      "dpa_with_adversarial_l1",
    )
  },
  "piad_small": (small_piad(), (32, 32, 3)),
  "fanogan_izif": (fanogan.Method(width=16), (64, 64, 1)),
  "ganomaly": (ganomaly_original.Method(), (64, 64, 1)),
  "maddr_memae": (memae_2d.Method(constraint=INTENDED), (64, 64, 1)),
  "maddr_ganomaly": (
    ganomaly_original.Method(constraint=INTENDED),
    (64, 64, 1),
  ),
}


def state_of(name):
  """A golden `state_dict`, whose batch normalizations have counted."""
  state = filler.named(name, cases.load(name)["shapes"])
  for i, key in enumerate(k for k in state if k.endswith("tracked")):
    state[key] = np.asarray(1000 + i, np.int64)
  return state


def shapes_of(source):
  """The arrays of a file's member in its row, as the run's states hold them."""
  arrays = source.found.read(source.slot.file, source.variables)
  row = source.slot.row
  return {
    path: np.repeat(value[None], row + 1, 0) for path, value in arrays.items()
  }


def exported(source):
  record = source.record()
  return torch_states.to_torch(
    source.slot, shapes_of(source), record["batches"], record["lacks"]
  )


def same(found, wanted):
  assert found.keys() == wanted.keys()
  for name, value in wanted.items():
    assert found[name].dtype == value.dtype
    np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_out_as_it_was(name, tmp_path):
  method, shape = MODELS[name]
  state = state_of(name)
  (source,) = imported.sources(method, shape, {"checkpoint": [state]}, tmp_path)
  same(exported(source), state)


@pytest.mark.parametrize("name", ["ddad_aeu", "ddad_memae"])
def test_ensembles_come_out_as_they_were(name, tmp_path):
  method = ddad.Method(
    backbone=published.DDAD[name],
    ensemble=ddad.Ensemble(2),
  )
  # Told apart by one number.
  states = [{**state_of(name), "extra": None} for _ in range(4)]
  for i, state in enumerate(states):
    del state["extra"]
    state["encoder.1.bias"] = np.full_like(state["encoder.1.bias"], i)
  refine = state_of("ddad_refine")
  given = {"udm": states[:2], "ndm": states[2:], "refine": [refine]}
  sources = imported.sources(method, (64, 64, 1), given, tmp_path)
  for source, state in zip(sources, [*states, refine], strict=True):
    same(exported(source), state)
  assert [s.slot.row for s in sources] == [0, 1, 2, 3, 0]
  assert [s.slot.file.at(s.slot.index) for s in sources] == [
    *("a/0.pth", "a/1.pth", "b/0.pth", "b/1.pth", "refine_dual.pth")
  ]


def tiny():
  """A backbone of few numbers, and its `state_dict`."""
  method = dataclasses.replace(
    published.RECONSTRUCTION["recon_ae"], width=4, latent=3, hidden=8
  )
  shape = (16, 16, 1)
  (file,) = method.files(shape)
  settings = imported.settings_of(shape)
  flat = importing._shapes(settings, method)
  rng = np.random.default_rng(0)
  flat = {
    path: rng.uniform(0.5, 1, (1, *leaf.shape)).astype(np.float32)
    for path, leaf in flat.items()
  }
  slot = torch_states.Slot(file, 0, 0, 0)
  return method, shape, torch_states.to_torch(slot, flat, None)


def read(state, folder, method=None):
  first, shape, _ = tiny()
  return imported.sources(
    method or first, shape, {"checkpoint": [state]}, folder
  )


def test_wrappers_of_training_programs_are_taken_off(tmp_path):
  _, _, state = tiny()
  momentum = np.zeros(3, np.float32)
  for wrapped in (
    {f"module.{k}": v for k, v in state.items()},
    {f"model_weights.{k}": v for k, v in state.items()},
    {
      **{f"state_dict.module.{k}": v for k, v in state.items()},
      "optimizer.state.0.exp_avg": momentum,
    },
  ):
    (source,) = read(wrapped, tmp_path)
    same(exported(source), state)


def test_half_precision_is_widened_and_told(tmp_path):
  _, _, state = tiny()
  half = {
    k: v.astype(np.float16) if v.dtype == np.float32 else v
    for k, v in state.items()
  }
  (source,) = read(half, tmp_path)
  same(exported(source), {k: half[k].astype(v.dtype) for k, v in state.items()})
  assert "stored as float16" in importing.summary([source], tmp_path)
  assert source.record()["stored_as"] == ["float16"]


def test_everything_that_does_not_fit_is_listed_at_once(tmp_path):
  _, _, state = tiny()
  wrong = dict(state)
  lost = [k for k in state if k.startswith("en_block1.")]
  for key in lost:
    del wrong[key]
  kernel = state["en_block2.model.0.weight"]
  wrong["en_block2.model.0.weight"] = kernel[:, :, :3]
  wrong |= {f"extra.{i}": np.zeros(1, np.float32) for i in range(20)}
  with pytest.raises(UserError) as caught:
    read(wrong, tmp_path)
  text = str(caught.value)
  for key in lost:
    assert key.endswith("tracked") or key in text
  assert all(f"extra.{i}" in text for i in range(20))
  assert f"{kernel[:, :, :3].shape} instead of {kernel.shape}" in text


def test_files_that_differ_alike_are_named_together(tmp_path):
  backbone, shape, state = tiny()
  method = ddad.Method(backbone=backbone, ensemble=ddad.Ensemble(2))
  given = {"udm": [state] * 2, "ndm": [state] * 2}
  with pytest.raises(UserError) as caught:
    imported.sources(method, shape, given, tmp_path)
  text = str(caught.value)
  assert text.count("encoder.0.weight") == 1
  assert all(f"{flag}_{i}.pth" in text for flag in given for i in (0, 1))


@pytest.mark.parametrize(
  ("change", "says"),
  [
    ({"en_block1.model.1.bias": np.full(4, np.nan)}, "not finite"),
    ({"en_block1.model.1.running_var": np.full(4, -1.0)}, "negative"),
    ({"en_block1.model.1.bias": np.zeros(4, np.int64)}, "whole numbers"),
  ],
)
def test_numbers_that_no_net_has_are_told(change, says, tmp_path):
  _, _, state = tiny()
  (source,) = read({**state, **change}, tmp_path)
  with pytest.raises(UserError, match=says):
    source.found.read(source.slot.file, source.variables)


def test_wrong_flags_and_counts_are_told(tmp_path):
  backbone, shape, state = tiny()
  with pytest.raises(UserError, match=r"--udm was given.* --checkpoint"):
    imported.sources(backbone, shape, {"udm": [state]}, tmp_path)
  with pytest.raises(UserError, match=r"2 file\(s\).*config.model.members"):
    imported.sources(backbone, shape, {"checkpoint": [state] * 2}, tmp_path)
  with pytest.raises(UserError, match="no file was given"):
    imported.sources(backbone, shape, {}, tmp_path)
  with pytest.raises(UserError, match="patchcore has no states"):
    imported.sources(
      patchcore.Method(), shape, {"checkpoint": [state]}, tmp_path
    )


def test_a_net_of_other_depths_has_no_published_names(tmp_path):
  method = dpa.Method(growth=dpa._growth.Growth((32, 64), ("relu4_2",)))
  with pytest.raises(UserError, match="the last resolution alone"):
    method.files((64, 64, 1))


def test_heads_and_critics_may_be_absent(tmp_path):
  method, shape = MODELS["maddr_memae"]
  state = state_of("maddr_memae")
  bare = {k: v for k, v in state.items() if not k.startswith("fc")}
  (source,) = imported.sources(method, shape, {"checkpoint": [bare]}, tmp_path)
  same(exported(source), bare)
  assert source.record()["lacks"] == ["train/net/heads"]
  # Half of them is a mistake.
  half = {k: v for k, v in state.items() if not k.startswith("fc1")}
  with pytest.raises(UserError, match=r"missing: fc1.bias, fc1.weight:"):
    imported.sources(method, shape, {"checkpoint": [half]}, tmp_path)


def test_a_critic_is_left_out_or_taken(tmp_path):
  method, shape = MODELS["piad_small"]
  whole = state_of("piad_small")
  nets = {k: v for k, v in whole.items() if k.startswith(("enc.", "dec."))}
  training = {**nets, "optimizer.x": np.zeros(1), "display_x": np.zeros(1)}
  (source,) = imported.sources(
    method, shape, {"checkpoint": [training]}, tmp_path
  )
  assert len(source.record()["lacks"]) == 2
  same(exported(source), nets)


def test_a_members_states_stand_in_its_row(tmp_path):
  backbone, shape, state = tiny()
  method = dataclasses.replace(backbone, members=2)
  other = {k: np.asarray(v + 1, v.dtype) for k, v in state.items()}
  sources = imported.sources(
    method, shape, {"checkpoint": [state, other]}, tmp_path
  )
  arrays = [s.found.read(s.slot.file, s.variables) for s in sources]
  states = importing.states_of(
    imported.settings_of(shape), method, sources, arrays
  )
  flat = torch_states.flatten(states)
  for source, wanted in zip(sources, (state, other), strict=True):
    found = torch_states.to_torch(source.slot, flat, source.found.counts())
    same(found, wanted)
  assert jax.tree.leaves(states["train"].key)


def test_what_is_written_is_what_pytorch_loads(tmp_path):
  torch = pytest.importorskip("torch")
  from medad_jax.mirrors import registry

  method, shape, state = tiny()
  path = tmp_path / "model.pth"
  tensor_file.write(path, state)
  (file,) = method.files(shape)
  net = registry.twin(method, "ae", shape).net(file)
  net.load_state_dict(torch.load(path, weights_only=True), strict=True)
