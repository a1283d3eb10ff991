"""Tiny sources for every builder, as their original folders look."""

from collections.abc import Callable, Iterator, Mapping
import functools
import gzip
import json
from pathlib import Path
import struct

import numpy as np
from PIL import Image
import scipy.io

from data_builders import dpa_lists, fastmri_lists
from medad_jax.data.phantom import scan
from tests.data_builders import slides

# Split -> (normal, abnormal) images.
COUNTS = {
  "train": (5, 0),
  "unlabelled_normal": (2, 0),
  "unlabelled_abnormal": (0, 3),
  "test": (4, 3),
}
UNLABELLED = {"brain", "covid_ct", "folder", "lag", "phantom", "rsna", "vin"}
# Of the other sets.
TWO_SPLITS = {"train": (8, 0), "test": (4, 3)}
# Of sets with normal test images only, and further test sets.
FURTHER = {
  "ixi": {
    "train": (8, 0),
    "val": (2, 0),
    "test": (4, 0),
    "test_lesions": (0, 4),
  },
  "fastmri": {
    "train": (8, 0),
    "val": (2, 0),
    "test": (4, 0),
    "test_pathology": (0, 3),
    "test_artifact": (0, 2),
    "test_local": (0, 15),
  },
}

# Sources that keep many images in a file.
PACKED = {"cifar10", "svhn"}
# Sources that name their files in a list; the others are what is there.
LISTED = {
  *("brain", "covid_ct", "fastmri", "isic", "lag", "rsna", "vin"),
}


def counts(builder: str) -> dict[str, tuple[int, int]]:
  """What a builder finds in the source that `make` gives it."""
  if builder in FURTHER:
    return FURTHER[builder]
  if builder in PACKED:
    return PACKED_COUNTS
  if builder.startswith("nih_") or builder == "camelyon16":
    return NIH_COUNTS
  return COUNTS if builder in UNLABELLED else TWO_SPLITS


def make(builder: str, folder: Path) -> Path | None:
  """A source for a builder; None for one that needs none."""
  maker = _MAKERS[builder]
  return None if maker is None else maker(folder)


def image(seed: int, size: tuple[int, int] = (20, 13), mode: str = "L"):
  """A PIL image with random pixels."""
  shape = (*size, 3) if mode == "RGB" else size
  pixels = np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)
  return Image.fromarray(pixels)


def image_list(folder: Path, suffix: str = "png") -> Path:
  """images/ and data.json; the lists are not in the order of names."""
  names = [f"{i:02}.{suffix}" for i in range(17)][::-1]
  (folder / "images").mkdir(parents=True)
  for seed, name in enumerate(names):
    picture = image(seed, mode="RGB" if seed % 3 else "L")
    picture.save(folder / "images" / name)
  tree = {
    "train": {
      "0": names[:5],
      "unlabeled": {"0": names[5:7], "1": names[7:10]},
    },
    "test": {"0": names[10:14], "1": names[14:]},
  }
  (folder / "data.json").write_text(json.dumps(tree))
  return folder


def class_folders(folder: Path) -> Path:
  """The layout of the builder for one's own images, with masks."""
  places = {
    "train/normal": 5,
    "unlabelled/normal": 2,
    "unlabelled/abnormal": 3,
    "test/normal": 4,
    "test/abnormal": 3,
  }
  fill(folder, places, "{}.png")
  masks(folder / "test/masks", "{}.bmp")
  return folder


def brats(folder: Path) -> Path:
  """A flat train, classes below test, masks under the name with 'seg'."""
  places = {"train": 8, "test/normal": 4, "test/tumor": 3}
  fill(folder, places, "BraTS_{:02}_flair_70.png")
  masks(folder / "test/annotation", "BraTS_{:02}_seg_70.png")
  return folder


def isic(folder: Path) -> Path:
  """Images and tables of labels; a part of the training images is abnormal."""
  for part, labels in {"Training": "0010000010", "Test": "1001001"}.items():
    stem = f"ISIC2018_Task3_{part}"
    names = [f"ISIC_{part == 'Test':d}{i:06}" for i in range(len(labels))]
    for seed, name in enumerate(names, 100 * (part == "Test")):
      (folder / f"{stem}_Input").mkdir(parents=True, exist_ok=True)
      picture = image(seed, mode="RGB")
      picture.save(folder / f"{stem}_Input" / f"{name}.jpg")
    rows = zip(names, labels, strict=True)
    lines = [f"{n},{x}.0,{1 - int(x)}.0,0.0" for n, x in rows]
    (folder / f"{stem}_GroundTruth").mkdir()
    table = folder / f"{stem}_GroundTruth" / f"{stem}_GroundTruth.csv"
    table.write_text("\n".join(["image,MEL,NV,BCC", *lines, ""]))
  return folder


def ixi(folder: Path) -> Path:
  """Slices of generated heads in the folders of three splits."""
  number = 2
  for split, (count, _) in list(FURTHER["ixi"].items())[:3]:
    (folder / split / "normal").mkdir(parents=True)
    for _ in range(count):
      path = folder / split / "normal" / f"IXI{number:03}.png"
      head_slice(number).save(path)
      number += 3
  return folder


def head_slice(number: int):
  """A PIL image of a generated head, higher than wide."""
  picture = Image.fromarray(scan.render(number, False).image)
  return picture.crop((12, 0, 116, 128)).resize((65, 80))


def fastmri(folder: Path) -> Path:
  """RA's folders and lists; the first class has two boxes of one image."""
  files = {}
  for split, (normal, abnormal) in FURTHER["fastmri"].items():
    count = normal + abnormal - (split == fastmri_lists.LOCAL)
    first = 100 * (1 + len(files))
    stems = range(first, first + count)
    files[split] = [f"file_brain_AXT1_202_2{n:06}" for n in stems]
  for places in (
    fastmri_lists.IMAGES,
    fastmri_lists.BOXES,
    fastmri_lists.HEALTHY,
    fastmri_lists.LISTS,
  ):
    (folder / places).mkdir(parents=True)
  for seed, stem in enumerate(stem for part in files.values() for stem in part):
    image(seed, (30, 24)).save(folder / fastmri_lists.IMAGES / f"{stem}.png")
  for split, (name, _) in fastmri_lists.SLICES.items():
    lines = [f"{fastmri_lists.IMAGES}/{stem}.png" for stem in files[split]]
    if split == "train":
      lines.insert(1, "brain_mid_png/sub-IXI002_ses-M00_T1w.png")
    csv_list(folder, name, lines)
  stems = files[fastmri_lists.LOCAL]
  for at, (name, labels) in enumerate(fastmri_lists.CLASSES.items()):
    rows = [(stems[at], k) for k in range(2 if at == 0 else 1)]
    add_boxes(folder, name, labels[0], rows)
  return folder


def csv_list(folder: Path, name: str, lines) -> None:
  """A list of RA's: a header, and paths of another machine."""
  text = "\n".join(["filenames", *(f"./data/fastMRI/{x}" for x in lines), ""])
  (folder / fastmri_lists.LISTS / f"{name}.csv").write_text(text)


def add_boxes(folder: Path, name: str, label: str, rows) -> None:
  """The lists and masks of a class, of (file, number of the box)."""
  lines = {"": [], "_ann": [], "_neg": []}
  heads = {stem: np.zeros((30, 24), np.uint8) for stem, _ in rows}
  for head in heads.values():
    head[3:27, 3:21] = 255
  for stem, k in rows:
    box, head = np.zeros((30, 24), np.uint8), heads[stem]
    box[5 + 9 * k : 12 + 9 * k, 6:14] = 255
    head[box > 0] = 0
    places = {
      "": f"{fastmri_lists.IMAGES}/{stem}.png",
      "_ann": f"{fastmri_lists.BOXES}/{stem}_{label}_{k}.png",
      "_neg": f"{fastmri_lists.HEALTHY}/{stem}.png",
    }
    Image.fromarray(box).save(folder / places["_ann"])
    Image.fromarray(head).save(folder / places["_neg"])
    for ending, line in places.items():
      lines[ending].append(line)
  for ending, found in lines.items():
    csv_list(folder, name + ending, found)


def covid_ct(folder: Path) -> Path:
  """The repository's lists and folders; the lists are not in order."""
  seed = 0
  for kind, counts in {"NonCOVID": (5, 2, 4), "COVID": (2, 1, 3)}.items():
    (folder / "Data-split" / kind).mkdir(parents=True)
    images = folder / "Images-processed" / f"CT_{kind}"
    images.mkdir(parents=True)
    for part, count in zip(("train", "val", "test"), counts, strict=True):
      names = [f"{part} {i}%1.png" for i in range(count)][::-1]
      for name in names:
        image(seed := seed + 1).save(images / name)
      path = folder / "Data-split" / kind / f"{part}CT_{kind}.txt"
      path.write_text("\n".join([*names, ""]))
  return folder


def shenzhen(folder: Path) -> Path:
  """One folder of both classes, and a list of the training images."""
  folder.mkdir(parents=True)
  for i in range(12):
    image(i).save(folder / f"CHNCXR_{i:04}_0.png")
  for i in range(3):
    image(50 + i).save(folder / f"CHNCXR_{90 + i:04}_1.png")
  names = [f"CHNCXR_{i:04}_0.png 2" for i in range(4, 12)][::-1]
  (folder / "train").write_text("\n".join(names))
  return folder


# Names of NIH's images: patient and study.
NIH = dpa_lists.Split(
  train=[f"{i:08}_000.png" for i in range(5)],
  normal=[f"{i:08}_000.png" for i in range(10, 14)],
  abnormal=[f"{i:08}_001.png" for i in range(20, 23)],
  few=[f"{i:08}_002.png" for i in range(30, 33)],
)
NIH_COUNTS = {
  "train": (5, 0),
  "unlabelled_abnormal": (0, 3),
  "test": (4, 3),
}


def nih(folder: Path) -> Path:
  """Images of the small lists above, in two folders."""
  names = [name for part in NIH for name in part]
  for i, name in enumerate(names):
    place = folder / f"images_{i % 2:03}"
    place.mkdir(parents=True, exist_ok=True)
    image(i).save(place / name)
  return folder


def lits(folder: Path) -> Path:
  """Two volumes of eight and seven slices, of which four have no tumor."""
  folder.mkdir(parents=True)
  for number, depth in ((1, 8), (3, 7)):
    shape = (20, 13, depth)
    draw = np.random.RandomState(number)
    volume = draw.randint(-300, 300, shape).astype(np.int16)
    mask = np.ones(shape, np.uint8)
    if number == 3:
      mask[4:9, 3:7, 4:] = 2
    nifti_file(folder / f"volume-{number}.nii", volume)
    nifti_file(folder / f"segmentation-{number}.nii", mask)
  names = [f"volume-1_{z}.png 0" for z in range(8)][::-1]
  (folder / "train").write_text("\n".join(names))
  return folder


def nifti_file(
  path: Path, numbers: np.ndarray, scale: tuple[float, float] = (0.0, 0.0)
) -> None:
  """A volume, written by the description of NIfTI-1."""
  code, bits = {"int16": (4, 16), "uint8": (2, 8)}[numbers.dtype.name]
  header = bytearray(352)
  struct.pack_into("<i", header, 0, 348)
  struct.pack_into("<8h", header, 40, 3, *numbers.shape, 1, 1, 1, 1)
  struct.pack_into("<hh", header, 70, code, bits)
  struct.pack_into("<fff", header, 108, 352.0, *scale)
  header[344:348] = b"n+1\0"
  data = bytes(header) + numbers.tobytes(order="F")
  path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def fill(
  folder: Path, places: Mapping[str, int], name: str, mode: str = "L"
) -> None:
  """Folders of random images with numbered names."""
  for seed, (place, count) in enumerate(places.items()):
    (folder / place).mkdir(parents=True)
    for i in range(count):
      image(100 * seed + i, mode=mode).save(folder / place / name.format(i))


def masks(folder: Path, name: str) -> None:
  """Masks of the three abnormal test images."""
  folder.mkdir()
  for i in range(3):
    mask = np.zeros((20, 13), np.uint8)
    mask[i : i + 5] = 255
    Image.fromarray(mask).save(folder / name.format(i))


def below(folder: Path, pattern: str) -> Iterator[Path]:
  """Files of a source, in the order of names."""
  return iter(sorted(folder.rglob(pattern)))


def in_color(places: Mapping[str, int], folder: Path) -> Path:
  """A source that is folders of RGB images, and nothing else."""
  fill(folder, places, "{}.jpg", mode="RGB")
  return folder


PACKED_COUNTS = {"train": (20, 0), "test": (12, 0)}


def cifar10(folder: Path) -> Path:
  """The binary version: class and pixels of one image after another."""
  folder.mkdir(parents=True)
  names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
  for seed, name in enumerate(names):
    pixels, classes = packed(seed, 12 if name == "test_batch" else 4)
    rows = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    content = np.concatenate([classes[:, None], rows], 1)
    (folder / f"{name}.bin").write_bytes(content.tobytes())
  return folder


def svhn(folder: Path) -> Path:
  """MATLAB files; the class 0 is stored as 10, and images come last."""
  folder.mkdir(parents=True)
  for seed, (split, (count, _)) in enumerate(PACKED_COUNTS.items()):
    pixels, classes = packed(seed, count)
    digits = np.where(classes == 0, 10, classes)[:, None]
    found = {"X": pixels.transpose(1, 2, 3, 0), "y": digits}
    scipy.io.savemat(folder / f"{split}_32x32.mat", found)
  return folder


def packed(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Random images, uint8 [count, 32, 32, 3], and their classes in turn."""
  random = np.random.RandomState(seed)
  pixels = random.randint(0, 256, (count, 32, 32, 3)).astype(np.uint8)
  return pixels, (np.arange(count) % 10).astype(np.uint8)


_MAKERS: dict[str, Callable[[Path], Path] | None] = {
  **dict.fromkeys(("nih_ap", "nih_pa", "nih_subset"), nih),
  "brain": lambda folder: image_list(folder, "jpg"),
  "brats": brats,
  "c16": functools.partial(
    in_color, {"train/good": 8, "test/good": 4, "test/Ungood": 3}
  ),
  "camelyon16": slides.camelyon16,
  "cifar10": cifar10,
  "colon": functools.partial(
    in_color,
    {"train_set": 8, "test_set/normal_test": 4, "test_set/abnormal_test": 3},
  ),
  "covid_ct": covid_ct,
  "cpchild": functools.partial(
    in_color, {"Train/Non-Polyp": 8, "Test/Non-Polyp": 4, "Test/Polyp": 3}
  ),
  "fastmri": fastmri,
  "folder": class_folders,
  "isic": isic,
  "ixi": ixi,
  "lag": lambda folder: image_list(folder, "jpg"),
  "lits": lits,
  "oct": functools.partial(
    in_color,
    {
      "train/NORMAL": 8,
      "test/NORMAL": 4,
      "test/CNV": 1,
      "test/DME": 1,
      "test/DRUSEN": 1,
    },
  ),
  "phantom": None,
  "rsna": image_list,
  "shenzhen": shenzhen,
  "svhn": svhn,
  "vin": image_list,
}
