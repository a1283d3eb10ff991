"""The example of docs/architecture.md works as it stands there."""

from pathlib import Path
import sys

import pytest

from medad_jax import methods
from medad_jax.engine import fields
from tests import tiny
from tests.methods import contract_test as contract

NAME = "template"


def example() -> str:
  page = Path("docs/architecture.md").read_text()
  section = page[page.index("## Add a method") :]
  return section.split("```python\n")[1].split("```")[0]


@pytest.fixture
def template(tmp_path, monkeypatch):
  (tmp_path / f"{NAME}.py").write_text(example())
  monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
  yield
  sys.modules.pop(f"medad_jax.methods.{NAME}", None)
  for cached in (contract.build, contract.trained, contract.program):
    cached.cache_clear()


def test_the_documented_method_keeps_the_contract(
  template, tmp_path, monkeypatch
):
  monkeypatch.setitem(contract.MODEL, NAME, {"level": 0.1})
  assert NAME in fields.method_names()
  contract.test_it_is_a_method(NAME)
  contract.test_steps_are_finite_and_learn_a_fixed_batch(NAME)
  contract.test_scores_depend_on_the_image_alone(NAME)
  contract.test_a_checkpoint_keeps_the_scores(NAME, tmp_path / "run")
  contract.test_a_mesh_changes_nothing(NAME)
  found = contract.scores(NAME, tiny.images(3, seed=1))
  assert set(found) == {"distance"}
