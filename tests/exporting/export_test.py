"""A model in one file: the scorer's scores, and every way to break the file."""

from collections import Counter
import json
from pathlib import Path
import re
import zipfile

import jax
import numpy as np
import pytest

import medad_jax
from medad_jax import exported
from medad_jax.engine import alarms, calibration, exporting
from medad_jax.engine.trained import Trained
from medad_jax.nets import ops
from medad_jax.types import UserError
from tests import tiny
from tests.exporting import bare, finished

HELD_OUT = np.arange(12)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """An autoencoder's run with held-out images."""
  folder = tmp_path_factory.mktemp("export")
  asked = {"evaluation.false_alarms": 0.1}
  finished.finish("ae", folder / "run", **asked)
  model = Trained.load(folder / "run")
  calibration.keep(model, tiny.images(), HELD_OUT, folder / "run")
  return folder / "run"


@pytest.fixture(scope="module")
def file(run):
  exporting.export(run, run.parent / "model.medad")
  return run.parent / "model.medad"


@pytest.fixture(scope="module")
def trained(run):
  return Trained.load(run)


@pytest.fixture(scope="module")
def model(file):
  return medad_jax.load_exported(file)


def changed(file: Path, out: Path, **entries) -> Path:
  """A copy with other entries, given as functions of the old ones."""
  with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w") as new:
    for name in old.namelist():
      change = entries.get(name.replace("/", "_").replace(".", "_"))
      data = old.read(name)
      new.writestr(name, change(data) if change else data)
  return out


def resealed(file: Path, out: Path, **fields) -> Path:
  """A copy whose manifest has other values, and the checksum to it."""
  with zipfile.ZipFile(file) as old:
    entries = {name: old.read(name) for name in old.namelist()}
  manifest = json.loads(entries.pop("manifest.json")) | fields
  entries.pop("checksum")
  out.write_bytes(exporting.packed(manifest, entries))
  return out


def test_the_file_has_the_scores_of_the_run_to_the_last_bit(
  run, file, trained, model
):
  images = tiny.images(30, 3)
  found, wanted = model.score(images), trained.score(images).scores
  assert model.difference == 0
  for name, values in wanted.image.items():
    np.testing.assert_array_equal(found.scores[name], values)
  for name, values in wanted.maps.items():
    np.testing.assert_array_equal(found.maps[name], values)
  np.testing.assert_array_equal(found.reconstruction, wanted.reconstruction)
  alarm, headline = alarm_of(run, trained), trained.method.score_names[-1]
  scores = wanted.image[headline][:, 0].astype(float)
  np.testing.assert_array_equal(found.p_values[:, 0], alarm.p_values(scores))
  assert [str(int(x)) for x in found.flags[:, 0]] == alarm.flags(scores)
  assert model.threshold == alarm.threshold is not None


def alarm_of(run, trained):
  headline = trained.method.score_names[-1]
  (alarm,) = alarms.of_run(run, headline, trained.settings.evaluation)
  return alarm


def test_levels_of_p_values_are_steps(run, trained, model):
  """At, just below and just above every held-out score, and far away."""
  alarm = alarm_of(run, trained)
  at = np.concatenate(
    [np.nextafter(alarm.held_out, side) for side in (-np.inf, 0, np.inf)]
    + [alarm.held_out, [-9.0, 9.0]]
  )
  found, _ = exported.judged(at[:, None], model.manifest["alarms"])
  np.testing.assert_array_equal(found[:, 0], alarm.p_values(at))


def test_it_runs_where_only_jax_and_numpy_are(file, model, tmp_path):
  np.save(tmp_path / "images.npy", tiny.images(5, 3)[..., 0])
  done = bare.run(tmp_path, str(file), "images.npy", beside=file)
  assert done.returncode == 0, done.stderr
  wanted = model.score(tiny.images(5, 3))
  rows = [line.split(",") for line in done.stdout.splitlines()[1:]]
  values = [np.float32(row[1]) for row in rows]
  # A process of its own: the scores of this one, digit by digit.
  np.testing.assert_array_equal(values, wanted.scores["rec"][:, 0])
  assert [row[3] for row in rows] == [str(int(f)) for f in wanted.flags[:, 0]]


def test_a_program_for_a_gpu_holds_no_form_of_the_cpu(trained):
  """It has the products of one that is made where there are no forms at all.

  Around them its 4x4 convolutions lay pixels out in squares.
  """
  _, programs = exporting.programs_of(trained, 3, ("cpu", "cuda"))
  with ops.own_forms(False):
    _, plain = exporting.programs_of(trained, 3, ("cuda",))
  forms, gpu = operations(programs["cpu"]), operations(programs["cuda"])
  wanted = operations(plain["cuda"])
  for product in ("convolution", "dot_general"):
    assert gpu[product] == wanted[product]
  assert gpu["convolution"] and forms["dot_general"] > gpu["dot_general"]
  # Nor the folders of this machine.
  bytes_ = programs["cuda"].mlir_module_serialized
  assert str(Path(exporting.__file__).parents[2]).encode() not in bytes_


def operations(program) -> Counter:
  """The number of each operation of some weight in a program.

  A choice by platform leaves its own branch, inside of a `case` of one.
  """
  found = re.findall(r"stablehlo\.(\w+)", program.mlir_module())
  light = {"case", "return", "constant", "reverse"}
  return Counter(name for name in found if name not in light)


def test_images_beyond_a_batch_are_scored_batch_by_batch(model):
  images = tiny.images(8, 3)
  whole, parts = model.score(images), list(model.batches(images))
  assert [len(p.scores["rec"]) for p in parts] == [3, 3, 2]
  np.testing.assert_array_equal(
    exported.joined(parts).scores["rec"], whole.scores["rec"]
  )


def test_a_batch_beyond_memory_is_one_sentence(model, monkeypatch):

  def full(*_):
    raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

  monkeypatch.setattr(model, "_call", full)
  with pytest.raises(exported.ModelFileError, match="--batch_size=1"):
    model.score(tiny.images(3))
  with pytest.raises(exported.ModelFileError, match="no image was given"):
    model.score([])


BROKEN = {
  "cut": (lambda f, o: o.write_bytes(f.read_bytes()[:-900]), "is cut or no"),
  "empty": (lambda f, o: o.write_bytes(b""), "is cut or no model file"),
  "other": (lambda f, o: o.write_text("text"), "is cut or no model file"),
  "zip": (lambda f, o: zipfile.ZipFile(o, "w").close(), "has no manifest"),
  "absent": (lambda f, o: None, "cannot be read .No such file"),
  "weights": (
    lambda f, o: changed(f, o, arrays_00000_npy=lambda d: d[:-1] + b"\x07"),
    r"changed after .*arrays/00000.npy differs",
  ),
  "threshold": (
    lambda f, o: changed(
      f,
      o,
      manifest_json=lambda d: d.replace(b'"threshold": 0', b'"threshold": 1'),
    ),
    "changed after .*manifest.json",
  ),
  "no json": (
    lambda f, o: changed(f, o, manifest_json=lambda d: b"{"),
    "changed after .*manifest.json",
  ),
  "newer": (
    lambda f, o: resealed(f, o, format=2),
    "has format 2 and this loader reads 1; update",
  ),
  "newer jax": (
    lambda f, o: resealed(
      f, o, programs={"convention": 99, "kept": [], "results": {}}
    ),
    "cannot run its program; install that jax",
  ),
  "platform": (
    lambda f, o: resealed(f, o, platforms=["tpu"]),
    "was exported for tpu and this is a cpu; export it again with",
  ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_file_that_is_not_whole_is_one_sentence(file, tmp_path, how):
  damage, said = BROKEN[how]
  damage(file, tmp_path / "m.medad")
  with pytest.raises(exported.ModelFileError, match=said) as found:
    exported.load_exported(tmp_path / "m.medad")
  assert "\n" not in str(found.value) and str(found.value).endswith(".")


def test_other_scores_than_the_checkpoint_are_not_exported(
  run, tmp_path, monkeypatch
):
  out = tmp_path / "model.medad"
  out.write_bytes(b"an older model")
  true = Trained.score

  def other(model, images):
    found = true(model, images)
    return jax.tree.map(lambda x: x * 1.0001, found)

  monkeypatch.setattr(Trained, "score", other)
  with pytest.raises(UserError, match="was not exported: .*other scores"):
    exporting.export(run, out, ("cpu",))
  assert [p.name for p in tmp_path.iterdir()] == ["model.medad"]
  assert out.read_bytes() == b"an older model"


@pytest.mark.parametrize(
  "platforms, said",
  [
    (("cpu", "gpu"), "--platforms=gpu was given; choose among cpu, cuda, tpu"),
    (("tpu",), "this machine's cpu cannot check it; add cpu"),
  ],
)
def test_platforms_that_cannot_be_are_told(run, tmp_path, platforms, said):
  with pytest.raises(UserError, match=said):
    exporting.export(run, tmp_path / "m.medad", platforms)
