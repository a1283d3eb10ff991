"""Every method in one file: the scores of its run, where only jax is."""

import json

import numpy as np
import pytest

from medad_jax.engine import exporting
from medad_jax.engine.trained import Trained
from tests.exporting import bare, finished
from tests.methods import contract_test as contract

# Draws and features, an ensemble of nets and one that judges them: the small
# twin of all methods.
FEW = ("ddad",)
SCRIPT = """
import json, sys
import medad_jax, numpy as np
model = medad_jax.load_exported(sys.argv[1])
found = model.score(np.load("images.npy"))
np.savez("found.npz", **found.scores)
with open("manifest.json", "w") as file:
  json.dump([model.difference, sorted(sys.modules)], file)
"""


def check(name, folder):
  finished.finish(name, folder / "run")
  exporting.export(folder / "run", folder / "m.medad", ("cpu",))
  images = contract.some_images(name, 7)
  np.save(folder / "images.npy", images)
  (folder / "script.py").write_text(SCRIPT)
  done = bare.run(
    folder, "script.py", str(folder / "m.medad"), beside=folder / "m.medad"
  )
  assert done.returncode == 0, done.stderr
  difference, modules = json.loads((folder / "manifest.json").read_text())
  assert difference == 0
  assert not {"flax", "optax", "PIL", "orbax"} & set(modules)
  wanted = Trained.load(folder / "run").score(images).scores.image
  with np.load(folder / "found.npz") as found:
    for key, values in wanted.items():
      np.testing.assert_array_equal(found[key], values)


@pytest.mark.parametrize("name", FEW)
def test_a_method_in_one_file_has_its_scores(name, tmp_path):
  check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(contract.METHODS) - set(FEW)))
def test_every_method_in_one_file_has_its_scores(name, tmp_path):
  check(name, tmp_path)
