"""Names and shapes of what torchvision's files hold."""

from collections.abc import Iterator

Shapes = dict[str, tuple[int, ...]]


def vgg19() -> Shapes:
  """`vgg19().state_dict()` without its classifier."""
  return _vgg((2, 2, 4, 4, 4))


def vgg16() -> Shapes:
  """`vgg16().state_dict()` without its classifier."""
  return _vgg((2, 2, 3, 3, 3))


def alexnet() -> Shapes:
  """`alexnet().state_dict()` without its classifier."""
  shapes: Shapes = {}
  for place, wide, channels, side in (
    (0, 64, 3, 11),
    (3, 192, 64, 5),
    (6, 384, 192, 3),
    (8, 256, 384, 3),
    (10, 256, 256, 3),
  ):
    shapes[f"features.{place}.weight"] = (wide, channels, side, side)
    shapes[f"features.{place}.bias"] = (wide,)
  return shapes


def _vgg(counts) -> Shapes:
  shapes: Shapes = {}
  place, channels = 0, 3
  for count, wide in zip(counts, (64, 128, 256, 512, 512), strict=True):
    for _ in range(count):
      shapes[f"features.{place}.weight"] = (wide, channels, 3, 3)
      shapes[f"features.{place}.bias"] = (wide,)
      channels = wide
      place += 2  # a ReLU between
    place += 1  # pooling
  return shapes


def resnet18() -> Shapes:
  """`resnet18().state_dict()` without its linear layer."""
  return dict(_resnet18())


def _resnet18() -> Iterator[tuple[str, tuple[int, ...]]]:
  yield "conv1.weight", (64, 3, 7, 7)
  yield from _norm("bn1", 64)
  channels = 64
  for level, wide in enumerate((64, 128, 256, 512), 1):
    for place in (0, 1):
      block = f"layer{level}.{place}"
      yield f"{block}.conv1.weight", (wide, channels, 3, 3)
      yield from _norm(f"{block}.bn1", wide)
      yield f"{block}.conv2.weight", (wide, wide, 3, 3)
      yield from _norm(f"{block}.bn2", wide)
      if channels != wide:
        yield f"{block}.downsample.0.weight", (wide, channels, 1, 1)
        yield from _norm(f"{block}.downsample.1", wide)
      channels = wide


def _norm(name, wide):
  for leaf in ("weight", "bias", "running_mean", "running_var"):
    yield f"{name}.{leaf}", (wide,)
  yield f"{name}.num_batches_tracked", ()
