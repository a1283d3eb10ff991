"""Import of PyTorch's checkpoints as finished runs, and their export.

An import writes an ordinary run's folder: stages that files hold are finished,
pretrained networks are taken from the user's cache, and what is estimated (a
density) is estimated from the training images. `imported.json` says which files
it was made from.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.engine import (
  checkpoint,
  environment,
  experiment,
  members,
  torch_states,
  trained,
)
from medad_jax.engine import config as configuration
from medad_jax.engine.settings import Settings
from medad_jax.engine.torch_states import Slot
from medad_jax.engine.workdir import Workdir
from medad_jax.types import Method, Phase, TrainState, UserError
from medad_jax.weights import net_file, state_file, tensor_file

# Paths by flag, in the order of `torch_states.slots`.
Given = Mapping[str, Sequence[Path]]


@dataclasses.dataclass(frozen=True)
class Source:
  """A file in its place, checked.

  Attributes:
    slot: the place.
    found: the file.
    variables: shapes of the member's variables.
  """

  slot: Slot
  found: state_file.StateFile
  variables: Any

  def record(self) -> dict[str, Any]:
    """The facts that are kept beside the checkpoints."""
    return {
      "flag": self.slot.file.flag,
      "member": self.slot.index,
      "trial": self.slot.trial,
      "file": self.found.path.name,
      "sha256": net_file.sha256(self.found.path),
      "lacks": list(self.found.lacks(self.slot.file, self.variables)),
      "stored_as": self.found.kinds(),
      "batches": self.found.counts(),
    }


def import_files(
  config: Mapping[str, Any], given: Given, workdir: Path
) -> list[Source]:
  """Writes the run whose states files hold.

  The same files again in the same folder go on where it was interrupted.

  Args:
    config: plain values, as a `configs/` file gives them.
    given: the files. Where none are given for the last stages, such as DDAD's
      refinement, the run stops before them and can be trained on.
    workdir: the run's folder.

  Returns:
    The files in their places.

  Raises:
    UserError: some files cannot be read or do not fit, the folder holds another
      run, or the configuration or the data do not fit.
  """
  settings = configuration.settings_of(config)
  method = configuration.build_method(config)
  sources = read(settings, method, config["method"], given)
  # `main` on the same folder may leave it out, and trains what is left.
  config = {**config, "until": _until(settings, method, sources)}
  records = [source.record() for source in sources]
  _check_folder(workdir, records)
  # All numbers are read and checked before the folder exists.
  arrays = [s.found.read(s.slot.file, s.variables) for s in sources]

  def place(folder: Workdir) -> None:
    # First: a folder that was interrupted here is known by it.
    folder.keep_imported({"files": records})
    if not folder.starts():
      folder.start(_description(config, records))
    _finish_stages(settings, method, sources, arrays, folder)

  experiment.complete(config, workdir, place)
  return sources


def read(
  settings: Settings, method: Method, name: str, given: Given
) -> list[Source]:
  """The files in their places, compared with the nets by names and shapes.

  Args:
    settings: of the run.
    method: whose states they hold.
    name: of the method.
    given: the files.

  Raises:
    UserError: files are too few or too many, cannot be read, or do not fit;
      all that does not fit is listed.
  """
  kinds = torch_states.files_of(method, name, settings.data.shape)
  trials = members.seeds(settings.seed, settings.seeds)
  slots = torch_states.slots(kinds, method, trials)
  chosen = _assigned(slots, given, name)
  flat = _shapes(settings, method)
  sources: list[Source] = []
  problems: dict[str, list[str]] = {}
  with torch_states.naming():
    # All files before the first complaint, so that it holds everything.
    for slot, path in chosen:
      found = state_file.read(path)
      sources.append(Source(slot, found, _one(slot, flat)))
      if misfits := found.misfits(slot.file, sources[-1].variables):
        # Files of one kind usually differ in the same way.
        problems.setdefault("; ".join(misfits), []).append(str(path))
  if problems:
    listed = ". ".join(
      f"{', '.join(paths)} {'do' if len(paths) > 1 else 'does'} not fit {name}"
      f" as it is configured, {misfit}"
      for misfit, paths in problems.items()
    )
    raise UserError(
      f"{listed}: give the files of this net, or a configuration of theirs"
      " (config.model, config.data.channels, config.data.image_size)."
    )
  return sources


def export(workdir: Path, out: Path, suffix: str = ".pth") -> list[Path]:
  """Writes a run's states as PyTorch's files.

  Args:
    workdir: of a finished run.
    out: folder of the files, named as the published ones.
    suffix: ".pth", ".pt" or ".safetensors".

  Returns:
    The files.

  Raises:
    UserError: there is no finished run, its states have no place in PyTorch's
      files, or a file cannot be written.
  """
  model = trained.Trained.load(workdir)
  record = Workdir(workdir).imported()
  states = model.states
  kinds = [
    file
    for file in torch_states.files_of(
      model.method, model.config["method"], model.shape
    )
    if set(file.stages) <= states.keys()  # a run may have stopped before
  ]
  flat = torch_states.flatten(states)
  paths = []
  for slot in torch_states.slots(kinds, model.method, model.trials):
    before = _recorded(record, slot)
    state = torch_states.to_torch(
      slot, flat, before.get("batches"), before.get("lacks", ())
    )
    path = out / Path(slot.file.at(slot.index)).with_suffix(suffix)
    # One seed is the usual case, in the published folders' layout.
    if len(model.trials) > 1:
      seed = model.trials[slot.trial].seed
      path = out / f"seed_{seed}" / path.relative_to(out)
    tensor_file.write(path, state)
    paths.append(path)
  return paths


def states_of(
  settings: Settings,
  method: Method,
  sources: Sequence[Source],
  arrays: Sequence[Mapping[str, np.ndarray]],
) -> dict[str, TrainState]:
  """The states of all stages that files hold, members first.

  Args:
    settings: of the run.
    method: whose states they are.
    sources: the files.
    arrays: of each file, by path.
  """
  trials = members.seeds(settings.seed, settings.seeds)
  held = _held(sources)
  # As drawn: what files lack, and the keys of draws in tests.
  states = {
    stage.name: members.init_states(stage, trials, settings.data.shape)
    for stage in method.phases()
    if isinstance(stage, Phase) and stage.name in held
  }
  # Copies on the host, to write single members into.
  flat = {k: np.array(x) for k, x in torch_states.flatten(states).items()}
  for source, found in zip(sources, arrays, strict=True):
    for path, value in found.items():
      flat[path][source.slot.row] = value
  ready = {path: jnp.asarray(leaf) for path, leaf in flat.items()}
  return torch_states.replaced(states, ready)


def summary(sources: Sequence[Source], workdir: Path) -> str:
  """A line for each file, and what to do next."""
  lines = []
  for source in sources:
    path, kinds = source.found.path, source.found.kinds()
    note = f", stored as {' and '.join(kinds)}" if kinds else ""
    lacks = source.found.lacks(source.slot.file, source.variables)
    if lacks:
      note += f", without {' and '.join(lacks)} (as drawn here)"
    lines.append(f"{source.slot.name}: {path}{note}")
  lines.append(
    f"imported into {workdir}; score it with\n  python -m medad_jax.evaluate"
    f" --workdir={workdir}"
  )
  return "\n".join(lines)


def _recorded(record: Mapping[str, Any], slot: Slot) -> Mapping[str, Any]:
  """Record of the file that a slot was imported from; empty without one."""
  wanted = slot.file.flag, slot.index, slot.trial
  for one in record.get("files", ()):
    if (one["flag"], one["member"], one["trial"]) == wanted:
      return one
  return {}


def _assigned(
  slots: Sequence[Slot], given: Given, name: str
) -> list[tuple[Slot, Path]]:
  """Each slot with its file."""
  wanted = dict(torch_states.by_flag(slots))
  if unknown := [f"--{f}" for f in given if given[f] and f not in wanted]:
    raise UserError(
      f"{', '.join(unknown)} was given, but the files of {name} are"
      f" {', '.join(f'--{flag}' for flag in wanted)}."
    )
  chosen: list[tuple[Slot, Path]] = []
  for flag, places in wanted.items():
    paths = given.get(flag, ())
    # Whole stages may be absent, and are trained later; `_until` says which.
    # A part of a stage may not: all its members share one checkpoint.
    if paths and len(paths) != len(places):
      raise UserError(
        f"{len(paths)} file(s) were given with --{flag} where the configuration"
        f" has {len(places)}; give one for each, with commas between, or change"
        f" {_counting(name)}."
      )
    chosen += zip(places, paths, strict=False)
  if not chosen:
    raise UserError(
      "no file was given; give"
      f" {', '.join(f'--{flag}=FILE' for flag in wanted)}."
    )
  return chosen


def _counting(name: str) -> str:
  """The fields that say how many files there are."""
  members_ = (
    "config.ensemble.size" if name == "ddad" else "config.model.members"
  )
  return f"{members_} or config.seeds"


def _until(
  settings: Settings, method: Method, sources: Sequence[Source]
) -> str | None:
  """The stage after which the run stops; None where files fill all."""
  filled = Counter(
    stage for source in sources for stage in source.slot.file.stages
  )
  # Estimates and pretrained nets need no file.
  phases = [stage for stage in method.phases() if isinstance(stage, Phase)]
  wanted = {stage.name: stage.members * settings.seeds for stage in phases}
  full = [name for name, count in wanted.items() if filled[name] == count]
  # Later stages may be trained here, earlier ones are what they stand on.
  for name in [n for n in wanted if filled[n]] or list(wanted)[:1]:
    if name not in full or list(wanted)[: len(full)] != full:
      raise UserError(
        f"{filled[name]} of {wanted[name]} member(s) of '{name}' have a file;"
        " give those of all members, and of the stages before."
      )
  return full[-1] if len(full) < len(wanted) else None


def _shapes(settings: Settings, method: Method) -> torch_states.Flat:
  """Shapes of one member of each phase, by path."""
  shape = settings.data.shape

  def of(stage):
    # Traced: nothing asks JAX for its devices, whose number is set later.
    return jax.eval_shape(
      lambda: members.init_state(stage, jax.random.key(0), shape, {})
    )

  phases = [stage for stage in method.phases() if isinstance(stage, Phase)]
  return torch_states.flatten({stage.name: of(stage) for stage in phases})


def _one(slot: Slot, flat: torch_states.Flat) -> Any:
  """Shapes of the variables of a slot's member."""
  # Views of one number: as many rows as the slot asks for, without memory.
  whole = {
    path: np.broadcast_to(np.float32(0), (slot.row + 1, *leaf.shape))
    for path, leaf in flat.items()
  }
  return slot.of(whole)


def _check_folder(workdir: Path, records: list[dict[str, Any]]) -> None:
  """Raises UserError where the folder holds another run."""
  folder = Workdir(workdir)
  # A folder without a configuration belongs to nobody.
  if not (workdir / "config.json").exists():
    return
  if folder.imported().get("files") != records:
    raise UserError(
      f"{workdir} holds a run that was not imported from these files; give"
      " another --workdir."
    )


def _finish_stages(
  settings: Settings,
  method: Method,
  sources: Sequence[Source],
  arrays: Sequence[Mapping[str, np.ndarray]],
  folder: Workdir,
) -> None:
  """Writes the final checkpoints of all stages that files hold."""
  saved = {
    name: checkpoint.Checkpoints(folder.path / "checkpoints", name)
    for name in _held(sources)
  }
  if all(one.finished for one in saved.values()):
    return  # by an import that was interrupted later
  states = states_of(settings, method, sources, arrays)
  # As a training would end: whole checkpoints, stage by stage.
  for name, state in states.items():
    if not saved[name].finished:
      saved[name].finish(state)


def _description(
  config: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
  """Description of an import, for run.json and reports."""
  precision = config.get("model", {}).get("precision", "float32")
  # A hash's beginning tells files apart; imported.json has all of it.
  imported = {
    f"--{record['flag']} {record['member']}"
    + (f", seed {record['trial']}" if record["trial"] else ""): (
      f"{record['file']}, SHA-256 {record['sha256'][:16]}"
    )
    for record in records
  }
  return environment.describe(precision) | {"imported": imported}


def _held(sources: Sequence[Source]) -> set[str]:
  """The stages that files hold."""
  return {stage for source in sources for stage in source.slot.file.stages}
