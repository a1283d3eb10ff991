"""scores.csv of an evaluation: what others named is no formula in it."""

import numpy as np

from medad_jax.data import columns, spec
from medad_jax.engine import compared, members, score_table


def test_names_and_patients_are_no_formulas_and_are_read_back(tmp_path):
  names, patients = ("=cmd.png", "b.png"), ("-1", "P2")
  split = spec.Split(
    np.zeros((2, 1, 1, 1), np.uint8),
    np.array([0, 1]),
    names,
    columns={columns.PATIENT: patients},
  )
  text = score_table.write(
    split, {"rec": np.array([[-0.5], [0.25]], np.float32)}, members.seeds(0, 1)
  )
  assert text.splitlines() == [
    "id,name,label,patient,rec",
    "0,./=cmd.png,0,'-1,-0.5",
    "1,b.png,1,P2,0.25",
  ]
  (tmp_path / "scores.csv").write_text(text, newline="")
  assert compared.names_of(tmp_path) == names
  assert compared.texts_of(tmp_path) == {columns.PATIENT: patients}
