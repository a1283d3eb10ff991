"""Chooses a configuration by cross-validation, without a test image.

  python -m data_builders.folds phantom -n 2
  python -m medad_jax.search --config=configs/dpa.py:phantom/wo_pg \
      --config.model.weights=random --space=dpa
  python -m medad_jax.main --config=runs/search_dpa_phantom_wo_pg/final.py

--space is FIELD=VALUE,VALUE, such as train.learning_rate=0.001,0.01, or
FIELD+FIELD=[V,V],[V,V] for fields that change together, or the name of a space
in configs/_spaces.py; given several times, all combinations are searched. The
same command again continues a search that was stopped.
"""

from pathlib import Path

from absl import flags

from medad_jax import shipped
from medad_jax.data import folds, store
from medad_jax.engine import cli, search, selection, space
from medad_jax.engine import config as configuration
from medad_jax.types import UserError

with cli.sentences():
  CONFIG = cli.define_config()
SPACE = flags.DEFINE_multi_string("space", [], "An axis, or a named space.")
WORKDIR = cli.define_path(
  "workdir", None, "Folder; by default runs/search_<configuration>."
)
FOLDS = cli.define_path("folds", None, "A file of folds; by default the set's.")
RULE = flags.DEFINE_enum(
  "rule",
  "anomalies",
  list(selection.RULES),
  "What the choice is by; all but the first see no anomaly.",
)
STOP = flags.DEFINE_enum(
  "stop",
  "early",
  ["early", "best"],
  "Lengths: of early stopping on each fold, or of the best mean over folds.",
)
PATIENCE = flags.DEFINE_integer(
  "patience", 3, "Measurements without improvement.", lower_bound=0
)
MIN_DELTA = flags.DEFINE_float(
  "min_delta", 1e-3, "What improves the validation loss.", lower_bound=0.0
)
EVERY = flags.DEFINE_integer(
  "every",
  None,
  "Steps between measurements; by default validation.every epochs.",
  lower_bound=1,
)
TOGETHER = flags.DEFINE_integer(
  "together", 64, "The most configurations of one program.", lower_bound=1
)


def main() -> None:
  """Reads the flags."""
  config = CONFIG.value.to_dict()
  file = flags.FLAGS["config"].config_filename
  root = config["data"]["dir"]
  root = Path(root).expanduser() if root else store.default_data_dir()
  path = FOLDS.value or folds.path_of(root, config["data"]["name"])
  search.search(
    config,
    _axes(SPACE.value, config),
    folds.read(path),
    WORKDIR.value or cli.workdir_of(file, "search"),
    search.Options(
      RULE.value,
      selection.Stopping(STOP.value, PATIENCE.value, MIN_DELTA.value),
      EVERY.value,
      TOGETHER.value,
    ),
  )


def _axes(texts: list[str], config: configuration.Config) -> list[space.Axis]:
  """The axes of all --space flags, of named spaces among them."""
  named = shipped.module("configs._spaces").SPACES
  if not texts:
    raise UserError(
      "no --space was given; give FIELD=VALUE,VALUE or one of"
      f" {', '.join(named)}."
    )
  axes = []
  for text in texts:
    axes += space.make(named[text]) if text in named else [space.parse(text)]
  return axes


if __name__ == "__main__":
  cli.run(main)
