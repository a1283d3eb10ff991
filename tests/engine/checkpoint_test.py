import errno
import json
from pathlib import Path
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from medad_jax.engine import checkpoint, parallel
from medad_jax.types import TrainState, UserError
from tests import tiny


def state(scale=1.0):
  return TrainState(
    step=jnp.arange(2),
    params={"net": scale * jnp.ones((2, 3))},
    extra={},
    opt={"mu": jnp.zeros((2, 3))},
    key=jax.random.split(jax.random.key(0)),
  )


def target():
  return checkpoint.abstract(jax.eval_shape(state), parallel.everywhere())


def test_what_is_saved_is_what_is_restored(tmp_path):
  saved = checkpoint.Checkpoints(tmp_path, "a")
  assert saved.latest() is None and not saved.finished
  saved.save(4, state(2.0))
  restored = checkpoint.Checkpoints(tmp_path, "a").restore(4, target())
  np.testing.assert_array_equal(restored.params["net"], 2.0)
  assert restored.key.dtype == state().key.dtype
  np.testing.assert_array_equal(
    jax.random.key_data(restored.key), jax.random.key_data(state().key)
  )


def test_an_end_replaces_the_way_to_it(tmp_path):
  saved = checkpoint.Checkpoints(tmp_path, "a")
  saved.save(4, state())
  saved.finish(state(3.0))
  again = checkpoint.Checkpoints(tmp_path, "a")
  assert again.finished
  final = again.final(target())
  np.testing.assert_array_equal(final.params["net"], 3.0)
  assert final.opt == {}
  assert not (tmp_path / "a" / "steps").exists()


def test_an_unfinished_phase_is_said(tmp_path):
  with pytest.raises(UserError, match="no finished phase"):
    checkpoint.Checkpoints(tmp_path, "a").final(target())


def test_a_sharded_state_restores_on_one_device(tmp_path):
  layout = tiny.devices(2, 2).layout(2, 4)
  saved = checkpoint.Checkpoints(tmp_path, "a")
  saved.save(1, layout.put(state(), parallel.MEMBER))
  restored = saved.restore(1, target())
  assert len(restored.params["net"].devices()) == 1
  np.testing.assert_array_equal(restored.params["net"], 1.0)


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path, monkeypatch):
  saved = checkpoint.Checkpoints(tmp_path, "a")
  saved.save(1, state())

  def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr(ocp.CheckpointManager, "save", full)
    with pytest.raises(UserError, match="No space left.*step 1 is saved"):
      saved.save(2, state(2.0))
  assert saved.latest() == 1
  restored = saved.restore(1, target())
  np.testing.assert_array_equal(restored.params["net"], 1.0)


def test_an_earlier_step_than_the_last_is_not_saved(tmp_path):
  saved = checkpoint.Checkpoints(tmp_path, "a")
  saved.save(10, state(2.0))
  saved.save(9, state(3.0))
  assert saved.latest() == 10
  assert not (tmp_path / "a" / "steps" / "9").exists()
  with pytest.raises(UserError, match="step 10 is saved"):
    raise saved._unwritable(11, OSError(errno.ENOSPC, "full"))


def test_a_cut_off_write_is_not_taken_for_a_checkpoint(tmp_path):
  saved = checkpoint.Checkpoints(tmp_path, "a")
  saved.save(1, state())
  saved.close()
  torn = tmp_path / "a" / "steps" / "2.orbax-checkpoint-tmp-0"
  torn.mkdir()
  (torn / "half").write_text(json.dumps({}))
  assert checkpoint.Checkpoints(tmp_path, "a").latest() == 1


def test_a_disk_without_room_is_said_before_anything_is_written(
  tmp_path, monkeypatch
):
  saved = checkpoint.Checkpoints(tmp_path, "a")
  saved.save(1, state())
  usage = shutil.disk_usage(tmp_path)
  monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
  with pytest.raises(UserError, match="0 MB are free.*step 1 is saved"):
    saved.save(2, state())
  with pytest.raises(UserError, match="0 MB are free"):
    saved.finish(state())
  assert saved.latest() == 1 and not saved.finished


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
  """A run's checkpoint folder with the steps 4 and 6 of phase a."""
  folder = tmp_path_factory.mktemp("checkpoints")
  saved = checkpoint.Checkpoints(folder, "a")
  saved.save(4, state(4.0))
  saved.save(6, state(6.0))
  saved.close()
  return folder


def _flip(path: Path) -> None:
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 0xFF
  path.write_bytes(bytes(data))


DAMAGE = {
  "changed": _flip,
  "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
  "emptied": lambda path: path.write_bytes(b""),
  "removed": Path.unlink,
}


def _damaged(folder: Path, kind: str) -> None:
  """Damages the largest file, which holds the arrays."""
  files = [path for path in folder.rglob("*") if path.is_file()]
  DAMAGE[kind](max(files, key=lambda path: path.stat().st_size))


def _recovered(folder) -> tuple[checkpoint.Checkpoints, list[str]]:
  notes = []
  checkpoint.recover(folder, notes.append)
  return checkpoint.Checkpoints(folder, "a"), notes


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_an_older_one_taken(
  two_steps, tmp_path, kind
):
  folder = shutil.copytree(two_steps, tmp_path / "copy")
  _damaged(folder / "a" / "steps" / "6", kind)
  saved, (note,) = _recovered(folder)
  assert "steps/6 cannot be used" in note
  assert "going on from 4 instead" in note
  assert saved.latest() == 4
  np.testing.assert_array_equal(
    saved.restore(4, target()).params["net"], state(4.0).params["net"]
  )
  saved.save(6, state(7.0))  # its place is free again
  assert _recovered(folder)[1] == []
  assert (folder / "a" / "damaged" / "6").is_dir()
  saved.finish(state(7.0))
  assert not (folder / "a" / "damaged").exists()


def test_every_file_of_a_checkpoint_is_checked(two_steps, tmp_path):
  """What orbax itself would read without a word is damage, too."""
  names = sorted(
    path.relative_to(two_steps)
    for path in (two_steps / "a" / "steps" / "6").rglob("*")
    if path.is_file()
  )
  assert len(names) > 5
  for name in names:
    folder = shutil.copytree(two_steps, tmp_path / "copy")
    _flip(folder / name)
    saved, notes = _recovered(folder)
    assert (len(notes), saved.latest()) == (1, 4), name
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_end_falls_back_to_the_steps_before_it(
  two_steps, tmp_path, monkeypatch, kind
):
  folder = shutil.copytree(two_steps, tmp_path / "copy")
  saved = checkpoint.Checkpoints(folder, "a")
  # A process that is killed before the steps are removed.
  with monkeypatch.context() as patch:
    patch.setattr(shutil, "rmtree", lambda *args, **options: None)
    saved.finish(state(7.0))
  _damaged(folder / "a" / "final", kind)
  with pytest.raises(UserError, match="final is damaged.*run the training"):
    saved.final(target())
  saved, (note,) = _recovered(folder)
  assert "final cannot be used" in note and "from 6 instead" in note
  assert not saved.finished and saved.latest() == 6


@pytest.mark.parametrize("kind", DAMAGE)
def test_without_a_sound_checkpoint_nothing_is_touched(
  two_steps, tmp_path, kind
):
  folder = shutil.copytree(two_steps, tmp_path / "copy")
  steps = folder / "a" / "steps"
  for name in ("4", "6"):
    _damaged(steps / name, kind)
  with pytest.raises(UserError, match="no checkpoint in .*a is sound"):
    _recovered(folder)
  assert {"4", "6"} <= {path.name for path in steps.iterdir()}


def test_a_checkpoint_that_was_never_completed_is_none(two_steps, tmp_path):
  """A process that is killed before the checksums are there."""
  folder = shutil.copytree(two_steps, tmp_path / "copy")
  for name in ("4", "6"):
    (folder / "a" / "steps" / name / "checksums.json").unlink()
  saved, notes = _recovered(folder)
  assert len(notes) == 2 and "from the start of the phase" in notes[0]
  assert saved.latest() is None


def test_other_sizes_are_one_sentence(two_steps, capfd):
  saved = checkpoint.Checkpoints(two_steps, "a")
  wanted = target()
  net = jax.ShapeDtypeStruct(
    (2, 4), jnp.float32, sharding=parallel.everywhere()
  )
  with pytest.raises(UserError, match=r"net is \(2, 3\) there and \(2, 4\)"):
    saved.restore(6, wanted.replace(params={"net": net}))
  with pytest.raises(UserError, match="params/net/kernel is absent there"):
    saved.restore(6, wanted.replace(params={"net": {"kernel": net}}))
  assert "Traceback" not in capfd.readouterr().err


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
  (tmp_path / "a").write_text("a file in the way")
  with pytest.raises(UserError, match="step 1 could not be written"):
    checkpoint.Checkpoints(tmp_path, "a").save(1, state())
