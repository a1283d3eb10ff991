"""Stages of another run are taken over where they would come out equal."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

from medad_jax import files
from medad_jax.engine import config as configuration
from medad_jax.engine import members, reuse, train
from medad_jax.training import Length
from tests import tiny
from tests.killed import Killed, Killer


def run(workdir, method, other=None, log=None, **options):
  """A whole training, and the phases that logged steps in it."""
  options |= {"method": method, "reuse": other}
  if log is not None:
    options["log"] = log
  settings = tiny.run(workdir, tiny.feed(), **options)
  states = train.train(method.phases(), settings)
  return states, steps_of(workdir)


def steps_of(workdir):
  log = (workdir / "log.txt").read_text()
  metrics = workdir / "metrics.jsonl"
  lines = metrics.read_text().splitlines() if metrics.exists() else []
  return {line.split('"')[3] for line in lines}, log


@pytest.fixture(scope="module")
def first(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("first")
  return workdir, run(workdir, tiny.method(2))[0]


def changed(method, **fields):
  return dataclasses.replace(
    method, refine=dataclasses.replace(method.refine, **fields)
  )


def assert_same(states, others):
  jax.tree.map(np.testing.assert_array_equal, states.params, others.params)


def test_another_refinement_trains_only_itself(first, tmp_path):
  workdir, before = first
  states, (phases, log) = run(
    tmp_path, changed(tiny.method(2), width=5), workdir
  )
  assert phases == {"refine_dual"}
  assert "4 of 4 member(s) taken" in log
  assert_same(states["ensemble"], before["ensemble"])


def test_a_larger_ensemble_trains_its_new_members(first, tmp_path):
  workdir, before = first
  states, (phases, log) = run(tmp_path, tiny.method(3), workdir)
  assert "4 of 6 member(s) taken" in log
  # UDM 0 and 1, NDM 0 and 1 of the first run; 2 and 5 are new.
  old = jax.tree.map(lambda x: x[np.array([0, 1, 3, 4])], states["ensemble"])
  assert_same(old, before["ensemble"])
  assert list(states["ensemble"].step) == [10, 10, 10, 6, 6, 6]
  assert phases == {"ensemble", "refine_dual"}  # teachers are others now


@pytest.mark.parametrize(
  "change",
  [pytest.param("seed", marks=pytest.mark.slow), "rate", "rows", "select"],
)
def test_what_would_come_out_differently_is_trained(first, tmp_path, change):
  method, options = tiny.method(2, refine_epochs=0), {}
  if change == "seed":
    options["trials"] = members.seeds(7, 1)
  if change == "select":
    options["select"] = "average"
  if change == "rate":
    optimizer = dataclasses.replace(method.optimizer, learning_rate=2e-3)
    method = dataclasses.replace(method, optimizer=optimizer)
  if change == "rows":
    pools = tiny.pools()
    options["pools"] = pools | {"normal": pools["normal"][:16]}
  _, (_, log) = run(tmp_path, method, first[0], **options)
  taken = "2 of 4" if change == "rows" else None  # the UDM saw the same rows
  assert (f"{taken} member(s) taken" in log) == (change == "rows")
  assert ("taken" in log) == (change == "rows")


@pytest.mark.parametrize("rows", [None, 8])
def test_a_run_without_a_newer_field_is_taken_where_it_has_its_default(
  first, tmp_path, rows
):
  """An older version's texts lack the field, and so does its config.json."""
  method, older = tiny.method(2), shutil.copytree(first[0], tmp_path / "older")
  config = configuration.defaults("ddad", "ae")
  del config["train"]["pass_rows"]
  files.write_json(older / "config.json", config)
  newer = reuse.newer(older)
  assert newer == {(Length, "pass_rows"): None}
  assert reuse.text(method, {}) == repr(method)  # as in the files of today
  settings = tiny.run(older, tiny.feed(), method=method, newer=newer)
  origins = {}
  for stage in method.phases():
    found = reuse.origin_of(stage, settings, origins)
    origins[stage.name] = dataclasses.replace(found, common=found.there)
    reuse.keep(stage, settings, origins[stage.name])
  length = dataclasses.replace(method.length, pass_rows=rows)
  now = dataclasses.replace(method, length=length)
  _, (phases, log) = run(tmp_path / "now", now, older, newer=newer)
  assert (phases == set()) == (rows is None)
  assert ("4 of 4 member(s) taken" in log) == (rows is None)


# The other run may be gone when the command is repeated.
@pytest.mark.parametrize(
  "there", [pytest.param(True, marks=pytest.mark.slow), False]
)
def test_a_run_killed_after_taking_over_goes_on_the_same(
  first, tmp_path, there
):
  (workdir, _), method = first, tiny.method(3, refine_epochs=0)
  whole, _ = run(tmp_path / "whole", method, workdir)
  with pytest.raises(Killed):
    log = Killer(tmp_path / "cut", 1)
    run(tmp_path / "cut", method, workdir, log)
  again, _ = run(tmp_path / "cut", method, workdir if there else None)
  assert_same(again["ensemble"], whole["ensemble"])
