"""All slides' tasks: over the processes of this machine, or on a cluster."""

from collections.abc import Iterable, Sequence
import concurrent.futures.process
import shutil

import tqdm

from data_builders import notices
from data_builders.camelyon16 import task as one
from data_builders.camelyon16.task import Task
from medad_jax.data import workers
from medad_jax.types import UserError


def run(tasks: Sequence[Task], beam_options: str | None = None) -> None:
  """Does all tasks that are not done yet.

  A slide that fails does not keep the others from being done.

  Args:
    tasks: of one folder `out`.
    beam_options: None for processes of this machine; elsewhere, the options of
      an Apache Beam pipeline, whose workers must see the same files.

  Raises:
    UserError: some slides failed, or a process ended in the middle.
  """
  todo = [task for task in tasks if task.done() is None]
  if not todo:
    return
  out = todo[0].out
  for left in out.glob(".*"):  # of a process that was killed
    shutil.rmtree(left, ignore_errors=True)
  if beam_options is None:
    problems = _on_processes(todo)
  else:
    from data_builders.camelyon16 import on_beam

    problems = on_beam.run(todo, beam_options)
  failed = [
    f"{task.name}: {problem}"
    for task, problem in zip(todo, problems, strict=True)
    if problem
  ]
  if failed:
    raise UserError(
      f"{len(failed)} of {len(tasks)} slides cannot be used, and the others are"
      " done; mend these or take them out, then run the same command again:\n"
      + notices.listed(failed)
    )


def _on_processes(todo: Sequence[Task]) -> list[str]:
  try:
    return list(
      _counted(workers.run(one.work, [(task,) for task in todo]), len(todo))
    )
  except concurrent.futures.process.BrokenProcessPool as error:
    raise UserError(
      "a process that worked on slides was ended by the system, perhaps for"
      " want of memory; what is done stays, and the same command goes on."
    ) from error


def _counted(outcomes: Iterable[str], count: int) -> Iterable[str]:
  return tqdm.tqdm(outcomes, "slides", count, unit="slide", disable=None)
