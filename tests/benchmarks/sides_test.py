"""A side in a process of its own, and what its failures look like."""

import os

import pytest

from benchmarks import sides
from medad_jax.types import UserError


class Echo:
  """A side that says what it was given."""

  def __init__(self, word, options):
    if not word:
      raise UserError("give a word")
    self.word, self.options = word, options

  def about(self):
    """The word, and what the process found in its environment."""
    return self.word, os.environ["JAX_COMPILATION_CACHE_DIR"], os.getpid()

  def close(self):
    """Nothing is open."""


TARGET = f"{__name__}:{Echo.__name__}"


def test_a_side_lives_in_a_process_with_caches_of_its_own(tmp_path):
  before = dict(os.environ)
  side = sides.Side(TARGET, ("ours", {}), tmp_path)
  word, cache, process = side.call("about")
  side.close()
  assert (word, cache) == ("ours", str(tmp_path / "jax"))
  assert process != os.getpid()
  assert dict(os.environ) == before


def test_what_a_side_refuses_is_the_users_to_read(tmp_path):
  side = sides.Side(TARGET, ("", {}), tmp_path)
  with pytest.raises(UserError, match="give a word"):
    side.call("about")
  side.close()
