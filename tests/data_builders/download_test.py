"""Downloads of sources from a server on this machine, and what may go wrong."""

from collections.abc import Iterator
import errno
import hashlib
import http.server
import re
import shutil
import tarfile
import threading

import pytest

from data_builders import build, remote
from medad_jax import fetch
from medad_jax.data import store
from tests.data_builders import sources


class Server:
  """Files by name, and how to treat who asks for them.

  Attributes:
    files: contents by name.
    ranges: whether parts can be asked for.
    cut: bytes after which the next answers end, one each.
    asked: ranges that were asked for; None for a whole file.
  """

  def __init__(self):
    self.files: dict[str, bytes] = {}
    self.ranges = True
    self.cut: list[int] = []
    self.asked: list[str | None] = []
    self.address = ""

  def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
    wanted = handler.headers.get("Range")
    self.asked.append(wanted)
    content = self.files.get(handler.path.lstrip("/").partition("?")[0])
    if content is None:
      handler.send_error(404)
      return
    start = 0
    if wanted and self.ranges:
      start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
    if start >= len(content) > 0:
      handler.send_response(416)
      handler.send_header("Content-Range", f"bytes */{len(content)}")
      handler.send_header("Content-Length", "0")
      handler.end_headers()
      return
    handler.send_response(206 if start else 200)
    rest = content[start:]
    if start:
      where = f"bytes {start}-{len(content) - 1}/{len(content)}"
      handler.send_header("Content-Range", where)
    handler.send_header("Content-Length", str(len(rest)))
    handler.end_headers()
    handler.wfile.write(rest[: self.cut.pop(0)] if self.cut else rest)


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
  found = Server()

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      found.answer(self)

    def log_message(self, *args):
      del args

  http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
  thread = threading.Thread(target=http_server.serve_forever, args=(0.01,))
  thread.start()
  found.address = f"http://127.0.0.1:{http_server.server_port}"
  monkeypatch.setattr(fetch, "_PAUSE", 0.0)
  yield found
  http_server.shutdown()
  thread.join()
  http_server.server_close()


def packed(folder, name):
  """A .tar.gz of a folder, as bytes."""
  path = folder.with_name(name)
  with tarfile.open(path, "w:gz") as archive:
    archive.add(folder, folder.name)
  return path.read_bytes()


def offer(server, monkeypatch, builder, files):
  """Lets a builder download these files, and no others."""
  server.files |= files
  found = tuple(
    remote.Remote(
      f"{server.address}/{name}?download=1", hashlib.md5(content).hexdigest()
    )
    for name, content in files.items()
  )
  monkeypatch.setattr(build.find_builder(builder), "REMOTE", found)
  return found


@pytest.fixture
def cifar(server, monkeypatch, tmp_path):
  folder = sources.cifar10(tmp_path / "cifar-10-batches-bin")
  name = "cifar-10-binary.tar.gz"
  content = packed(folder, name)
  offer(server, monkeypatch, "cifar10", {name: content})
  return name, content


def run(*args):
  return build.main([str(arg) for arg in args])


def cifar10(data_dir):
  return run("cifar10", "--download", f"--data_dir={data_dir}")


def test_an_archive_is_fetched_checked_built_and_removed(
  cifar, tmp_path, capsys
):
  assert cifar10(tmp_path / "data") == 0
  out = capsys.readouterr().out
  assert "none stated; the authors ask" in out  # the license
  assert "--config.data.name=cifar10" in out
  folder = store.find_built(tmp_path / "data", "cifar10")
  assert store.read_facts(folder)["source"] == cifar[0]
  assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar10"]


def test_several_files_are_a_folder(server, monkeypatch, tmp_path):
  folder = sources.svhn(tmp_path / "files")
  files = {path.name: path.read_bytes() for path in folder.iterdir()}
  offer(server, monkeypatch, "svhn", files)
  assert run("svhn", "--download", f"--data_dir={tmp_path / 'data'}") == 0
  found = store.find_built(tmp_path / "data", "svhn")
  assert store.read_facts(found)["source"] == "svhn"


def test_broken_connections_are_taken_up_again(
  cifar, server, tmp_path, monkeypatch
):
  _, content = cifar
  # Four in a row, as each brings something.
  server.cut = [100, 50, 1, 200]
  assert cifar10(tmp_path / "data") == 0
  starts = ["bytes=100-", "bytes=150-", "bytes=151-", "bytes=351-"]
  assert server.asked == [None, *starts]
  assert len(content) > 351


def test_an_interrupted_command_goes_on(cifar, server, tmp_path, capsys):
  server.cut = [100, 0, 0, 0]
  assert cifar10(tmp_path / "data") == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  for word in (
    server.address,
    "ended early",
    "is kept",
    "run the same command",
  ):
    assert word in error
  server.asked.clear()
  assert cifar10(tmp_path / "data") == 0
  assert server.asked == ["bytes=100-"]


def test_a_server_that_knows_no_parts_begins_anew(cifar, server, tmp_path):
  server.ranges, server.cut = False, [100]
  assert cifar10(tmp_path / "data") == 0
  assert server.asked == [None, "bytes=100-"]


@pytest.mark.parametrize("left", [b"x" * 50, b"y" * 10_000_000])
def test_what_was_left_of_another_file_is_replaced(
  left, cifar, server, tmp_path
):
  part = tmp_path / f"data/.building/cifar10/download/cifar10/{cifar[0]}.part"
  part.parent.mkdir(parents=True)
  part.write_bytes(left)
  assert cifar10(tmp_path / "data") == 0
  assert server.asked[-1] is None


def test_a_part_that_is_whole_is_not_fetched_again(cifar, server, tmp_path):
  name, content = cifar
  part = tmp_path / f"data/.building/cifar10/download/cifar10/{name}.part"
  part.parent.mkdir(parents=True)
  part.write_bytes(content)
  assert cifar10(tmp_path / "data") == 0
  assert server.asked == [f"bytes={len(content)}-"]


def test_other_bytes_are_never_unpacked(
  cifar, server, tmp_path, monkeypatch, capsys
):
  name, content = cifar
  server.files[name] = content[:-1] + b"?"
  monkeypatch.setattr(
    tarfile, "open", lambda *args, **more: pytest.fail("it was opened")
  )
  assert cifar10(tmp_path / "data") == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert f"{server.address}/{name}" in error and "MD5" in error
  assert hashlib.md5(content).hexdigest() in error
  # The next try begins from nothing.
  assert not list(tmp_path.glob("data/.building/*/download/*/*"))


def test_nothing_there_and_nobody_there(cifar, server, tmp_path, capsys):
  server.files.clear()
  assert cifar10(tmp_path / "data") == 2
  error = capsys.readouterr().err
  assert "Not Found" in error and error.count("\n") == 1
  assert len(server.asked) == 1  # a no is not asked for again


def test_offline_is_one_sentence(monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(fetch, "_PAUSE", 0.0)
  gone = (remote.Remote("http://127.0.0.1:9/a.tar.gz", "0"),)
  monkeypatch.setattr(build.find_builder("brain"), "REMOTE", gone)
  assert run("brain", "--download", f"--data_dir={tmp_path}") == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  for word in ("could not be downloaded", "--source", "images/ and data.json"):
    assert word in error


def test_a_full_disk(cifar, server, tmp_path, monkeypatch, capsys):
  usage = shutil.disk_usage(tmp_path)._replace(free=10)
  monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage)
  assert cifar10(tmp_path / "data") == 2
  error = capsys.readouterr().err
  assert "MB left; make room there" in error and error.count("\n") == 1
  monkeypatch.undo()


def test_a_disk_that_fills_up_meanwhile(
  cifar, server, tmp_path, monkeypatch, capsys
):
  def full(answer, file, at, total):
    file.write(answer.read(10))
    raise OSError(errno.ENOSPC, "No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr(fetch, "_copy", full)
    assert cifar10(tmp_path / "data") == 2
  error = capsys.readouterr().err
  assert "No space left" in error and "--data_dir" in error
  assert error.count("\n") == 1
  assert cifar10(tmp_path / "data") == 0
  assert server.asked[-1] == "bytes=10-"


@pytest.mark.parametrize(
  ("args", "words"),
  [
    (("phantom", "--download"), ["generated"]),
    (("isic", "--download"), ["cannot be downloaded", "cifar10", "challenge"]),
    (("cifar10",), ["--source=DIR", "or --download"]),
    (("all",), ["--source=DIR", "BrainTumor", "--download"]),
    (("all", "--source=/nowhere"), ["holds none of", "BrainTumor"]),
    (("all", "--download", "--name=mine"), ["leave --name"]),
  ],
)
def test_a_users_mistake_is_one_sentence(args, words, tmp_path, capsys):
  assert run(*args, f"--data_dir={tmp_path}") == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert all(word in error for word in words), error


def test_all_that_is_in_medianomalys_folder(tmp_path, capsys, monkeypatch):
  root = tmp_path / "MedIAnomaly-Data"
  sources.image_list(root / "BrainTumor")
  sources.image_list(root / "LAG")
  sources.isic(root / "ISIC2018_Task3")
  content = packed(sources.image_list(tmp_path / "RSNA"), "RSNA.tar.gz")
  (root / "RSNA.tar.gz").write_bytes(content)
  rsna = build.find_builder("rsna")
  monkeypatch.setattr(rsna, "MD5", hashlib.md5(content).hexdigest())
  (root / "LAG" / "data.json").write_text("{")
  flags = ("all", f"--source={root}", f"--data_dir={tmp_path / 'data'}")
  assert run(*flags) == 2
  out, error = capsys.readouterr()
  assert "lacks brats (BraTS2021), c16 (Camelyon16), cpchild" in out
  assert "not JSON" in error
  assert "1 of 4 sets could not be built (lag; see above)" in error
  assert store.built_names(tmp_path / "data") == ["brain", "isic", "rsna"]
  shutil.copy(root / "BrainTumor/data.json", root / "LAG/data.json")
  assert run(*flags) == 0
  assert "brain is already built" in capsys.readouterr().out
  assert "lag" in store.built_names(tmp_path / "data")


def test_all_that_can_be_downloaded(server, monkeypatch, tmp_path):
  for name in build.builder_names():
    kind = build.find_builder(name)
    if kind.REMOTE and name != "lag":
      monkeypatch.setattr(kind, "REMOTE", ())
  content = packed(sources.image_list(tmp_path / "LAG"), "LAG.tar.gz")
  offer(server, monkeypatch, "lag", {"LAG.tar.gz": content})
  assert run("all", "--download", f"--data_dir={tmp_path / 'data'}") == 0
  assert store.built_names(tmp_path / "data") == ["lag"]


def test_the_published_places():
  """The six archives of Zenodo's record, and what DPA's paper trains on."""
  found = {
    name: kind.REMOTE
    for name in build.builder_names()
    if (kind := build.find_builder(name)).REMOTE
  }
  assert set(found) == {
    *("brain", "brats", "c16", "cifar10", "lag", "rsna", "svhn", "vin")
  }
  assert found["brain"][0].url == (
    "https://zenodo.org/records/12677223/files/BrainTumor.tar.gz?download=1"
  )
  assert found["brain"][0].name == "BrainTumor.tar.gz"
  sums = [one.md5 for files in found.values() for one in files]
  assert all(re.fullmatch("[0-9a-f]{32}", digest) for digest in sums)
  assert len(set(sums)) == len(sums) == 9
