"""What all configurations share: the data, the machine, the optimizer."""

from ml_collections import ConfigDict, config_dict


def run(method: str, dataset: str) -> ConfigDict:
  """Where the data are and how the machine is used; no method's own fields."""
  config = ConfigDict()
  config.method = method
  config.seed = 0
  config.seeds = 1  # trainings in one program, from `seed` on

  config.data = ConfigDict()
  config.data.name = dataset
  config.data.dir = config_dict.placeholder(str)  # else $MEDAD_DATA_DIR
  config.data.image_size = 64
  config.data.channels = 1
  config.data.resize = "stretch"  # or crop: the shorter side, then the middle
  config.data.extra = 0  # unlabelled images that the UDM sees besides normals
  config.data.anomaly_ratio = 0.6  # share of them that is abnormal
  config.data.allow_truncation = False
  config.data.feed = config_dict.placeholder(str)  # resident, grain or by size
  config.data.resident_mb = 2000.0

  # Normal images held out, to be told from synthetic anomalies every so many
  # epochs; only for methods that make such anomalies.
  config.validation = ConfigDict({"share": 0.0, "every": 10})
  config.select = "last"  # or synthetic: the best of these validations

  config.parallel = "jit"  # or pmap
  config.mesh = ConfigDict()
  config.mesh.member = config_dict.placeholder(int)  # None: chosen
  config.mesh.batch = config_dict.placeholder(int)
  config.steps_per_call = 8
  config.checkpoint_seconds = 120.0
  config.evaluation = ConfigDict({"batch_size": 64})
  return config


def adam(
  epochs: int, batch_size: int, learning_rate: float, b1: float = 0.9
) -> ConfigDict:
  """A training, as a section of a configuration."""
  section = ConfigDict()
  section.epochs = epochs
  section.batch_size = batch_size
  section.learning_rate = learning_rate
  section.optimizer = "adam"
  section.b1 = b1
  section.b2 = 0.999
  section.weight_decay = 0.0
  section.grad_clip = config_dict.placeholder(float)
  section.final_rate = config_dict.placeholder(float)  # None: constant
  section.rate_lag = 0
  section.drop_last = True
  section.pass_rows = config_dict.placeholder(int)  # None: the whole pool
  section.epoch_steps = config_dict.placeholder(int)  # None: a pass
  return section
