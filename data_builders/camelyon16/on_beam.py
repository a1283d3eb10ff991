"""Tasks of slides as a data set of TFDS, which Apache Beam makes: `beam`."""

from collections.abc import Sequence
import functools
import importlib.util
import pickle
import tempfile
from typing import Any

import tensorflow_datasets as tfds

from data_builders import base
from data_builders.camelyon16 import task as one
from data_builders.camelyon16.task import Task
from medad_jax import shipped
from medad_jax.types import UserError


def run(tasks: Sequence[Task], options: str) -> list[str]:
  """Does tasks on the workers of a pipeline.

  Args:
    tasks: whose files every worker sees under the same paths.
    options: of the pipeline, as `tfds build --beam_pipeline_options` takes
      them: "runner=DataflowRunner,project=mine".

  Returns:
    Why each task failed; an empty text where it is done.

  Raises:
    UserError: there is no Apache Beam.
  """
  if importlib.util.find_spec("apache_beam") is None:
    raise UserError(
      "--beam_pipeline_options needs Apache Beam; install with"
      " pip install 'medad-jax[slides,beam]'."
    )
  from apache_beam.options import pipeline_options

  flags = [f"--{option}" for option in options.split(",")]
  config = tfds.download.DownloadConfig(
    beam_options=pipeline_options.PipelineOptions(flags=flags)
  )
  # Beside the patches, where workers of other hosts can write.
  with tempfile.TemporaryDirectory(dir=tasks[0].out, prefix=".beam") as folder:
    builder = _Outcomes(
      tasks=tasks, data_dir=folder, file_format="array_record"
    )
    builder.download_and_prepare(
      download_dir=f"{folder}/downloads", download_config=config
    )
    rows = builder.as_data_source(split="slides")
    found = {row["slide"].decode(): row["problem"].decode() for row in rows}
  return [found[task.name] for task in tasks]


class _Outcomes(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """The outcome of every task, which is done where Beam makes the example."""

  VERSION = tfds.core.Version("1.0.0")

  def __init__(self, *, tasks: Sequence[Task], **kwargs: Any):
    self._tasks = tasks
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    text = tfds.features.Text
    features = tfds.features.FeaturesDict({"slide": text(), "problem": text()})
    return base.Info(builder=self, features=features)

  def _split_generators(self, dl_manager) -> dict[str, Any]:
    del dl_manager
    return {"slides": self._generate_examples()}

  def _generate_examples(self) -> Any:
    beam = tfds.core.lazy_imports.apache_beam
    # Where the package is installed, a worker must be told to look inside it.
    work = functools.partial(shipped.call, __name__, example.__name__)
    return (
      beam.Create([pickle.dumps(task) for task in self._tasks])
      # Otherwise one worker would get all of them.
      | beam.Reshuffle()
      | beam.Map(work)
    )


def example(pickled: bytes) -> tuple[str, dict[str, str]]:
  """Does a task; returns its key and its outcome, as TFDS takes examples."""
  task: Task = pickle.loads(pickled)
  return task.name, {"slide": task.name, "problem": one.work(task)}
