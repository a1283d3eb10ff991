"""The examples of docs/architecture.md work as they stand there."""

from pathlib import Path
import sys

import pytest

from medad_jax import methods
from medad_jax.engine import fields
from tests import tiny
from tests.methods import contract_test as contract

# Each example's name, its first words, and what it scores.
EXAMPLES = {
  "template": "distance",
  "deviation": "deviation",
  "standardized": "z",
}


def examples() -> list[str]:
  page = Path("docs/architecture.md").read_text()
  section = page[page.index("## Add a method") :]
  return [part.split("```")[0] for part in section.split("```python\n")[1:]]


@pytest.fixture(params=EXAMPLES)
def example(request, tmp_path, monkeypatch):
  """The example's name; its file is a method meanwhile."""
  name = request.param
  (source,) = [
    text for text in examples() if text.lower().startswith(f'"""{name}:')
  ]
  (tmp_path / f"{name}.py").write_text(source)
  monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
  monkeypatch.setitem(contract.MODEL, name, {})
  yield name
  sys.modules.pop(f"medad_jax.methods.{name}", None)
  for cached in (
    contract.build,
    contract.initial,
    contract.program_of,
    contract.scorer_of,
    contract.trained,
  ):
    cached.cache_clear()


def test_there_are_three_examples():
  assert len(examples()) == len(EXAMPLES)


def test_an_example_keeps_the_contract(example, tmp_path):
  assert example in fields.method_names()
  contract.test_it_is_a_method(example)
  contract.test_steps_are_finite_and_learn_a_fixed_batch(example)
  contract.test_scores_depend_on_the_image_alone(example)
  contract.test_a_checkpoint_keeps_the_states(example, tmp_path / "run")
  contract.test_a_mesh_changes_nothing(example)
  found = contract.scores(example, tiny.images(3, seed=1))
  assert set(found) == {EXAMPLES[example]}
