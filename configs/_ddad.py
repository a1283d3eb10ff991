"""What the published DDAD-ASR configurations share (arXiv 2210.04227)."""

from ml_collections import ConfigDict, config_dict

BACKBONES = ("ae", "memae", "aeu")


def published(backbone: str) -> ConfigDict:
  """The authors' settings; a data set's file adds its name and sizes."""
  config = ConfigDict()
  config.method = "ddad"
  config.seed = 0

  config.data = ConfigDict()
  config.data.name = ""
  config.data.dir = config_dict.placeholder(str)  # else $MEDAD_DATA_DIR
  config.data.image_size = 64
  config.data.channels = 1
  config.data.extra = 0  # unlabelled images that the UDM sees besides normals
  config.data.anomaly_ratio = 0.6  # share of them that is abnormal
  config.data.allow_truncation = False
  config.data.feed = config_dict.placeholder(str)  # resident, grain or by size
  config.data.resident_mb = 2000.0

  config.backbone = backbone
  config.model = ConfigDict({"width": 16, "latent": 16, "hidden": 2048})
  if backbone == "memae":
    config.model.slots = 25
    config.model.threshold = 0.0
    config.model.entropy_weight = 2e-4

  config.ensemble = ConfigDict({"size": 3})  # UDM members, and as many NDM

  config.train = ConfigDict()
  config.train.epochs = 250
  config.train.batch_size = 64
  config.train.learning_rate = 5e-4
  config.train.b1 = 0.5
  config.train.b2 = 0.999
  config.train.weight_decay = 0.0
  config.train.grad_clip = config_dict.placeholder(float)

  config.refine = ConfigDict()
  config.refine.inputs = ("dual",)  # of dual, intra
  config.refine.width = 128
  config.refine.epochs = 100
  config.refine.batch_size = 8
  config.refine.learning_rate = 1e-4
  config.refine.b1 = 0.5
  config.refine.b2 = 0.999
  config.refine.weight_decay = 1e-4
  config.refine.grad_clip = config_dict.placeholder(float)

  config.parallel = "jit"  # or pmap
  config.mesh = ConfigDict()
  config.mesh.member = config_dict.placeholder(int)  # None: chosen
  config.mesh.batch = config_dict.placeholder(int)
  config.steps_per_call = 8
  config.checkpoint_seconds = 120.0
  config.evaluation = ConfigDict({"batch_size": 64})
  return config
