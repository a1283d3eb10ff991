import errno
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from medad_jax.engine import checkpoint, parallel
from medad_jax.types import TrainState, UserError


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
