"""Cells: no text of others is a formula, and all are read back."""

import csv
import io
import os

import pytest

from medad_jax.engine import cells

FORMULAS = ("=cmd.png", "+x.png", "@a.png", "-1.png", "\tx", "\rx", "\uff1dx")
PLAIN = ("a b.png", "sub/=x.png", ".x", "1-2.png", "'quoted'", "", "日本.png")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text):
  for cell in (cells.of_path(text), cells.of_text(text)):
    assert cell[0] in "./'" and cell.endswith(text)


@pytest.mark.parametrize("text", FORMULAS + PLAIN)
def test_a_path_stays_a_path_of_the_same_file(text):
  cell = cells.of_path(text)
  assert cells.path(cell) == text
  assert os.path.normpath(cell) == os.path.normpath(text)


@pytest.mark.parametrize(
  "text", (*FORMULAS, *PLAIN, "'=x", "''-x", "'", "./=x")
)
def test_texts_are_read_back_from_a_table(text):
  file = io.StringIO(newline="")
  csv.writer(file).writerow([cells.of_text(text)])
  ((cell,),) = csv.reader(io.StringIO(file.getvalue(), newline=""))
  assert cells.text(cell) == text


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_stay_as_they_are(text):
  assert cells.of_path(text) == cells.of_text(text) == text
