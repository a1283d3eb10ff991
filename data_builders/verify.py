"""Opens and decodes every file of a source before anything is built."""

from collections.abc import Mapping, Sequence
import concurrent.futures
import dataclasses
import hashlib
import json
import os
from pathlib import Path
import stat

from PIL import ExifTags, Image
import tqdm

from data_builders import masks, notices
from medad_jax.data import decode
from medad_jax.types import UserError

# Pillow's modes that the reader can convert to gray and RGB.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")

# A file, and whether it is read as a mask.
Role = tuple[Path, bool]


@dataclasses.dataclass(frozen=True)
class Finding:
  """The findings of reading a file.

  Attributes:
    problem: why it cannot be used, or None.
    digest: the sha256 of its content, in hexadecimal digits.
    size: width and height, pixels.
    marked: the share of its pixels that a mask marks; 0 for an image.
  """

  problem: str | None = None
  digest: str = ""
  size: tuple[int, int] = (0, 0)
  marked: float = 0.0


def verify(
  pairs: Sequence[tuple[Path, Path | None]],
  misfits: Mapping[Path, str],
  root: Path,
  journal: Path | None = None,
  healthy: Sequence[tuple[Path, Path | None]] = (),
) -> Mapping[Path, str]:
  """Decodes all files in parallel; complains about all bad ones at once.

  Args:
    pairs: images that a build will read, with their masks where they have
      any; a file may occur several times.
    misfits: files that are known to be unusable, and why.
    root: the source folder; names in messages start below it.
    journal: where sound files are noted, so that a build that was killed, or
      whose source was fixed, need not decode them again.
    healthy: images with the files that mark their healthy pixels, which may
      be most of them.

  Returns:
    The digest of every image.

  Raises:
    UserError: files are missing, corrupt or not what the reader can use (see
      `inspect`), masks have another size than their image or all of them mark
      most of it, or there are misfits.
  """
  roles = {(image, False): None for image, _ in pairs}
  roles |= {(mask, True): None for _, mask in pairs if mask is not None}
  # Not masks of what is abnormal: they may be gray, and mark most of an image.
  roles |= {(mask, False): None for _, mask in healthy if mask is not None}
  found = _inspect_all(list(roles), misfits, journal)
  broken = {
    path: finding.problem
    for (path, _), finding in found.items()
    if finding.problem is not None
  }
  # The size of what cannot be opened is nobody's concern.
  sizes = _check_sizes(pairs, found, broken, True)
  sizes |= _check_sizes(healthy, found, broken, False)
  bad = {**sizes, **misfits, **broken}
  if bad:
    named = (
      path for pair in [*pairs, *healthy] for path in pair if path is not None
    )
    unique = list(dict.fromkeys([*named, *misfits]))
    lines = [
      f"{_below(path, root)}: {bad[path]}" for path in unique if path in bad
    ]
    raise UserError(
      f"{_share(len(bad), len(unique))} files cannot be used in {root}; restore"
      " them or take them out, then run the same command again:\n"
      + notices.listed(lines)
    )
  _check_areas({mask: found[mask, True] for _, mask in pairs if mask}, root)
  return {
    path: finding.digest
    for (path, is_mask), finding in found.items()
    if not is_mask
  }


def inspect(path: Path, is_mask: bool = False) -> Finding:
  """Reads and decodes a file as the builder's reader would.

  It refuses folders and pipes, formats other than `decode.FORMATS`, several
  pages or frames, more than 8 bits a channel, and color spaces without a
  conversion. It also refuses an EXIF orientation, which the reader would
  ignore, and masks that can be read in more than one way.
  """
  try:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
      return Finding("a folder, not an image")
    if not stat.S_ISREG(mode):  # reading a pipe would wait for its writer
      return Finding("a pipe or device, not an image")
    data = path.read_bytes()
  except FileNotFoundError:
    return Finding("missing")
  except OSError as error:
    return Finding((error.strerror or str(error)).lower())
  except ValueError:  # a NUL, or half of a surrogate pair
    return Finding("no file can have this name")
  return _inspect_content(data, is_mask) if data else Finding("empty file")


def _inspect_content(data: bytes, is_mask: bool) -> Finding:
  try:
    # `verify` checks the checksums of PNG, and leaves the image unusable.
    with decode.open_image(data) as image:
      image.verify()
    with decode.open_image(data) as image:
      reason = _unreadable(image, data)
      marked = 0.0
      if is_mask and reason is None:
        reason, marked = _inspect_mask(image)
      size = image.size
  except Image.UnidentifiedImageError:
    return Finding(f"not an image that is read ({', '.join(decode.FORMATS)})")
  # Pillow's decoders raise nearly anything on a damaged file, and one of them
  # must not hide the others.
  except Exception as error:
    reason = " ".join(str(error).split())
    return Finding(f"truncated, corrupt or beyond Pillow's limits ({reason})")
  return Finding(reason, hashlib.sha256(data).hexdigest(), size, marked)


def _unreadable(image: Image.Image, data: bytes) -> str | None:
  """Loads an image and returns why the reader would misread it, or None."""
  pages = getattr(image, "n_frames", 1)
  bits = _bits(image, data)
  image.load()
  # The frames after a camera's JPEG (MPO) are previews of it.
  if pages > 1 and image.format != "MPO":
    return f"{pages} pages or frames: keep the one that is meant"
  if bits > 8:
    return f"more than 8 bits a pixel (mode {image.mode}): convert it first"
  if image.mode not in _MODES:
    return f"mode {image.mode} is neither gray nor RGB: convert it first"
  turned = _orientation(image)
  if turned in range(2, 9):
    return (
      f"rotated by its EXIF orientation ({turned}): rotate the pixels and"
      " remove the tag"
    )
  return None


def _bits(image: Image.Image, data: bytes) -> int:
  """Bits a channel; Pillow's mode of 16-bit color is that of 8-bit color."""
  if image.format == "PNG":
    return data[24]  # after the signature and the image's width and height
  if image.format == "TIFF":
    return max(image.tag_v2.get(258, (1,)))  # BitsPerSample
  return 8


def _orientation(image: Image.Image) -> int | None:
  try:
    return image.getexif().get(ExifTags.Base.Orientation)
  # Pillow raises nearly anything here, too. A viewer ignores such data.
  except Exception:
    return None


def _inspect_mask(image: Image.Image) -> tuple[str | None, float]:
  try:
    return None, float(masks.marked(image).mean())
  except ValueError as error:
    return str(error), 0.0


def _inspect_all(
  roles: Sequence[Role], misfits: Mapping[Path, str], journal: Path | None
) -> dict[Role, Finding]:
  known = _read_journal(journal)
  roles = [role for role in roles if role[0] not in misfits]
  found = {role: known[role] for role in roles if role in known}
  todo = [role for role in roles if role not in found]
  if not todo:
    return found
  with (
    concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
    open(journal or os.devnull, "a", buffering=1) as log,
  ):
    looked = pool.map(lambda role: inspect(*role), todo)
    for role, finding in tqdm.tqdm(
      zip(todo, looked, strict=True),
      "verifying",
      len(todo),
      unit="file",
      disable=None,  # no bar in log files
    ):
      found[role] = finding
      if finding.problem is None:
        log.write(_entry(role, finding))
  return found


def _check_sizes(
  pairs: Sequence[tuple[Path, Path | None]],
  found: Mapping[Role, Finding],
  broken: Mapping[Path, str],
  role: bool,
) -> dict[Path, str]:
  """Masks, read in one role, whose size is not their image's."""
  bad = {}
  for image, mask in pairs:
    if mask is None or image in broken or mask in broken:
      continue
    if (image, False) not in found or (mask, role) not in found:
      continue
    size, other = found[image, False].size, found[mask, role].size
    if size != other:
      bad[mask] = "its size is {}x{}, its image's {}x{} pixels".format(
        *other, *size
      )
  return bad


def _check_areas(found: Mapping[Path, Finding], root: Path) -> None:
  """Names masks that are empty or mark most of their image."""
  shares = {str(_below(path, root)): f.marked for path, f in found.items()}
  empty = [name for name, share in shares.items() if share == 0]
  large = [name for name, share in shares.items() if share > 0.5]
  if shares and len(large) == len(shares):
    raise UserError(
      f"every mask in {root} marks more than half of its image; make what is"
      " abnormal white and the rest black:\n" + notices.listed(large)
    )
  if empty:
    notices.warn(
      f"{len(empty)} of {len(shares)} masks of abnormal images mark nothing:\n"
      + notices.listed(empty)
    )
  if large:
    notices.warn(
      f"{len(large)} of {len(shares)} masks mark more than half of their"
      " image; are they inverted?\n" + notices.listed(large)
    )


def _read_journal(journal: Path | None) -> dict[Role, Finding]:
  """Sound files that are still what they were."""
  if journal is None or not journal.exists():
    return {}
  known = {}
  for line in journal.read_text().splitlines():
    try:
      path, is_mask, state, digest, size, marked = json.loads(line)
    except (ValueError, TypeError):
      continue  # the line a killed build was writing
    if state == _state(Path(path)):
      finding = Finding(None, digest, tuple(size), marked)
      known[Path(path), is_mask] = finding
  return known


def _entry(role: Role, finding: Finding) -> str:
  path, is_mask = role
  entry = [str(path), is_mask, _state(path)]
  entry += [finding.digest, finding.size, finding.marked]
  return json.dumps(entry) + "\n"


def _state(path: Path) -> list[int] | None:
  """Size and time, by which a file is still the one that was read."""
  try:
    found = path.stat()
  except OSError:
    return None
  return [found.st_size, found.st_mtime_ns]


def _below(path: Path, root: Path) -> Path:
  return path.relative_to(root) if path.is_relative_to(root) else path


def _share(count: int, total: int) -> str:
  """ "2 of 5", or "2" of none else: rows do not name all files of a source."""
  return f"{count} of {total}" if total > count else f"{count}"
