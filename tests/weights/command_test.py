"""The command that imports weights."""

import numpy as np
import pytest

from medad_jax.weights import __main__ as command
from tests.weights import sources


def test_import_and_mistakes(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv("MEDAD_CACHE_DIR", str(tmp_path / "cache"))
  pair = (np.ones((1, 512, 1, 1), np.float32),) * 2
  path = sources.write_zip(tmp_path / "stats.pt", {"r42": pair})
  assert command.main(["vgg19_r42", f"--source={path}"]) == 0
  assert "vgg19_r42.npz" in capsys.readouterr().out
  assert command.main(["vgg19_r42", "--source=none.pt"]) == 2
  error = capsys.readouterr().err
  assert error.startswith("medad_jax: none.pt cannot be read")
  assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
  "args", [[], ["vgg19"], ["vgg20", "--download"], ["vgg19", "--sorce=a"]]
)
def test_wrong_flags(args, capsys):
  with pytest.raises(SystemExit, match="2"):
    command.main(args)
  assert "usage: python -m medad_jax.weights" in capsys.readouterr().err
