"""The notebook of docs/ runs, from its first cell to its last."""

import ast
import json
import os
import subprocess
import sys

import pytest

import medad_jax
from tests.launched import ROOT

NOTEBOOK = json.loads((ROOT / "docs" / "tour.ipynb").read_text("utf-8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"]]
CODE = [
  text
  for text, cell in zip(CELLS, NOTEBOOK["cells"], strict=True)
  if cell["cell_type"] == "code"
]
# What the last lines must have been.
CHECKS = """
assert len(found.flags) == 4 and found.flags[2:].all(), found
values = found.scores[headline][:, 0]
assert values[2:].min() > values[:2].max(), values
assert (again.scores[headline] == found.scores[headline]).all()
"""


def test_it_has_ten_cells_without_outputs_that_name_what_there_is():
  assert len(CELLS) == 10
  assert not any(cell.get("outputs") for cell in NOTEBOOK["cells"])
  names = {
    node.attr
    for node in ast.walk(ast.parse("\n".join(CODE)))
    if isinstance(node, ast.Attribute)
    and isinstance(node.value, ast.Name)
    and node.value.id == "medad_jax"
  }
  assert {"fit", "Detector", "load_exported"} <= names
  for name in names:
    assert getattr(medad_jax, name)


@pytest.mark.slow
def test_it_runs(tmp_path):
  script = tmp_path / "tour.py"
  script.write_text("\n".join([*CODE, CHECKS]), encoding="utf-8")
  done = subprocess.run(
    [sys.executable, script],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
    env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
  )
  assert done.returncode == 0, done.stderr
