"""Where speech comes from: the registry, the bundled sample, folders, Debian's package, LJSpeech."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import soundfile
import torch

from audioflow.audio import read_audio, write_audio
from audioflow.corpora import get_corpus, split_of
from audioflow.corpora.fetch import download, unpack_tar
from audioflow.corpora.splits import SPLITS
from audioflow.errors import CorpusError

SPEECH = Path(__file__).parents[2] / "data" / "speech"


def tone(seconds, rate):
    return 0.3 * torch.sin(torch.arange(int(seconds * rate)) * 440 * 2 * torch.pi / rate)


# splits


def test_splits_are_fixed():
    known = {"ru_0003": "train", "ru_0061": "train", "ru_0184": "valid", "ru_0235": "test", "LJ001-0001": "train"}
    assert {name: split_of(name) for name in known} == known


def test_a_name_that_is_not_utf_8_has_a_split_too():
    assert split_of(os.fsdecode(b"caf\xe9")) in SPLITS


def test_split_shares():
    splits = [split_of(f"utterance {number}") for number in range(10_000)]
    shares = [splits.count(name) / len(splits) for name in SPLITS]
    assert shares == pytest.approx([0.9, 0.05, 0.05], abs=0.01)


# the bundled sample


def test_sample_is_whole():
    utterances = list(get_corpus("sample").utterances())
    assert [split_of(one.id) for one in utterances].count("train") == 6
    assert {split_of(one.id) for one in utterances} == set(SPLITS)
    assert all(one.text and one.speaker for one in utterances)
    seconds = []
    for one in utterances:
        info = soundfile.info(one.path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        seconds.append(info.duration)
    assert 50 < sum(seconds) < 70


def test_sample_checksums():
    lines = (SPEECH / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 9
    for line in lines:
        checksum, name = line.split()
        assert hashlib.sha256((SPEECH / name).read_bytes()).hexdigest() == checksum, name


# the registry


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("smaple", {}, ["smaple", "did you mean 'sample'"]),
        ("festvox", {}, ["festvox-ru"]),
        ("folder", {}, ["needs the option 'root'"]),
        ("sample", {"root": "x"}, ["no option 'root'", "none"]),
        ("festvox-ru", {"rate": 1}, ["no option 'rate'", "root"]),
    ],
)
def test_registry_errors(name, options, words):
    with pytest.raises(CorpusError) as error:
        get_corpus(name, **options)
    assert all(word in str(error.value) for word in words), str(error.value)


# folders


def test_folder_lists_what_is_audio(tmp_path):
    write_audio(tmp_path / "b.wav", tone(0.1, 8000), 8000)
    write_audio(tmp_path / "anna" / "day 1" / "0001.flac", tone(0.1, 8000), 8000)
    (tmp_path / "anna" / "day 1" / "0001.txt").write_text("two\n words", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no audio")
    (tmp_path / "._b.wav").write_bytes(b"hidden")
    found = list(get_corpus("folder", root=tmp_path).utterances())
    assert [(one.id, one.speaker, one.text) for one in found] == [
        ("anna__day 1__0001", "anna", "two words"),
        ("b", "", ""),
    ]


def test_folder_errors(tmp_path):
    with pytest.raises(CorpusError, match="does not exist"):
        list(get_corpus("folder", root=tmp_path / "none").utterances())
    with pytest.raises(CorpusError, match="no audio below"):
        list(get_corpus("folder", root=tmp_path).utterances())
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="is a file"):
        list(get_corpus("folder", root=tmp_path / "file").utterances())


# festvox-ru


def make_voice(root):
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "txt.done.data").write_text('( ru_0001 "Да, п+ыль." )\n( ru_0007 "Нет" )\n', encoding="utf-8")


def tool(folder, name, script):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\n{script}")
    (folder / name).chmod(0o755)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("inside", [".", "usr/share/festival/voices/russian/msu_ru_nsh_clunits"])
def test_festvox_from_an_unpacked_tree(tmp_path, inside):
    make_voice(tmp_path / inside)
    found = list(get_corpus("festvox-ru", root=tmp_path).utterances())
    assert [(one.id, one.text) for one in found] == [("ru_0001", "Да, п+ыль."), ("ru_0007", "Нет")]
    assert found[0].path == (tmp_path / inside / "wav" / "ru_0001.wav").resolve()


def test_festvox_refuses_another_tree(tmp_path):
    with pytest.raises(CorpusError, match=r"no unpacked festvox-ru.*txt\.done\.data"):
        list(get_corpus("festvox-ru", root=tmp_path).utterances())


def test_festvox_without_apt(cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CorpusError, match=r"apt-get, which is not on this computer.*--root"):
        list(get_corpus("festvox-ru").utterances())


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("E: Unable to locate package festvox-ru", "apt-get update"),
        ("E: Failed to fetch http://x", "check the network"),
    ],
)
def test_festvox_where_apt_fails(cache, tmp_path, monkeypatch, said, advice):
    tool(tmp_path / "bin", "apt-get", f"import sys\nsys.exit({said!r})")
    tool(tmp_path / "bin", "dpkg-deb", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(CorpusError) as error:
        list(get_corpus("festvox-ru").utterances())
    assert said in str(error.value)
    assert advice in str(error.value)


def test_festvox_refuses_a_wrong_package(cache, tmp_path, monkeypatch):
    tool(tmp_path / "bin", "apt-get", "open('festvox-ru.deb', 'w').write('other')")
    tool(tmp_path / "bin", "dpkg-deb", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(CorpusError, match="instead of 21ef3f0f"):
        list(get_corpus("festvox-ru").utterances())
    assert not list(cache.rglob("*.deb"))


def test_festvox_unpacks_what_it_needs(cache, tmp_path, monkeypatch):
    voice = tmp_path / "tree" / "usr/share/festival/voices/russian/msu_ru_nsh_clunits"
    make_voice(voice)
    (voice / "big").mkdir()
    (voice / "big" / "table").write_text("not needed")
    package = tmp_path / "package.tar"
    with tarfile.open(package, "w") as archive:
        archive.add(tmp_path / "tree", arcname=".")
    tool(tmp_path / "bin", "apt-get", f"import shutil\nshutil.copy({str(package)!r}, 'festvox-ru.deb')")
    tool(tmp_path / "bin", "dpkg-deb", "import sys\nsys.stdout.buffer.write(open(sys.argv[2], 'rb').read())")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("audioflow.corpora.festvox.SHA256", hashlib.sha256(package.read_bytes()).hexdigest())
    assert len(list(get_corpus("festvox-ru").utterances())) == 2
    monkeypatch.setenv("PATH", "")  # the second time nothing is fetched
    assert len(list(get_corpus("festvox-ru").utterances())) == 2
    assert not list(cache.rglob("big"))


# downloads


class Server(ThreadingHTTPServer):
    """Serves ``content``, resumes if asked to, and hangs up after ``limit`` bytes."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.limit, self.resumes, self.ranges = content, None, True, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/LJSpeech-1.1.tar.bz2"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked[len("bytes=") : -1]) if asked and self.server.resumes else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.limit])

    def log_message(self, *args):
        pass


def ljspeech_archive():
    wav = io.BytesIO()
    soundfile.write(wav, tone(0.5, 22050).numpy(), 22050, format="WAV", subtype="PCM_16")
    metadata = 'LJ001-0001|Chapter 1|Chapter One\nLJ001-0002|a "quote|a "quote\n'
    files = {
        "metadata.csv": metadata.encode(),
        "wavs/LJ001-0001.wav": wav.getvalue(),
        "wavs/LJ001-0002.wav": wav.getvalue(),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:bz2") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"LJSpeech-1.1/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def server():
    with Server(ljspeech_archive()) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ljspeech(server, tmp_path):
    checksum = hashlib.sha256(server.content).hexdigest()
    return get_corpus("ljspeech", root=tmp_path / "lj", url=server.url, sha256=checksum)


def test_ljspeech_continues_a_broken_download(server, tmp_path):
    server.limit = 300
    with pytest.raises(CorpusError, match=r"300 bytes are kept in .*run the command again"):
        list(ljspeech(server, tmp_path).utterances())
    server.limit = None
    found = list(ljspeech(server, tmp_path).utterances())
    assert server.ranges == [None, "bytes=300-"]
    assert [(one.id, one.text, one.speaker) for one in found] == [
        ("LJ001-0001", "Chapter One", "LJ"),
        ("LJ001-0002", 'a "quote', "LJ"),
    ]
    assert read_audio(found[0].path)[1] == 22050
    list(ljspeech(server, tmp_path).utterances())
    assert len(server.ranges) == 2  # nothing is fetched twice
    assert [path.name for path in (tmp_path / "lj").iterdir()] == ["LJSpeech-1.1"]


def test_download_starts_over_where_the_server_cannot_resume(server, tmp_path):
    server.resumes = False
    (tmp_path / "x.part").write_bytes(b"half of something")
    checksum = hashlib.sha256(server.content).hexdigest()
    seen = []
    download(server.url, tmp_path / "x", checksum, lambda done, total: seen.append((done, total)))
    assert (tmp_path / "x").read_bytes() == server.content
    assert seen[-1] == (len(server.content), len(server.content))


def test_download_that_was_whole_already(server, tmp_path):
    (tmp_path / "x.part").write_bytes(server.content)
    download(server.url, tmp_path / "x", hashlib.sha256(server.content).hexdigest())
    assert (tmp_path / "x").read_bytes() == server.content


def test_download_with_a_wrong_checksum_is_removed(server, tmp_path):
    with pytest.raises(CorpusError, match="instead of 0000"):
        download(server.url, tmp_path / "x", "0" * 64)
    assert not list(tmp_path.iterdir())


def test_ljspeech_offline(tmp_path):
    corpus = get_corpus("ljspeech", root=tmp_path / "lj", url="http://127.0.0.1:9/LJSpeech-1.1.tar.bz2")
    with pytest.raises(CorpusError, match=r"cannot be fetched.*check the connection"):
        list(corpus.utterances())


def test_ljspeech_knows_torchaudios_checksum():
    corpus = get_corpus("ljspeech")
    assert len(corpus.sha256) == 64
    assert corpus.url.endswith("LJSpeech-1.1.tar.bz2")


@pytest.mark.parametrize("content", [b"no tar at all" * 100, b""])
def test_damaged_archive(tmp_path, content):
    with pytest.raises(CorpusError, match="cannot be unpacked"):
        unpack_tar(io.BytesIO(content), tmp_path, ("",), "the archive")


def test_archive_cannot_leave_its_folder(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a/../../evil"), io.BytesIO())
    packed.seek(0)
    (tmp_path / "in").mkdir()
    with pytest.raises(CorpusError, match="cannot be unpacked"):
        unpack_tar(packed, tmp_path / "in", ("a",), "the archive")
    assert not (tmp_path / "evil").exists()


def test_a_python_that_cannot_unpack_safely_is_refused(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(CorpusError, match=r"the archive cannot be unpacked safely by Python .*; upgrade to 3\.10\.12"):
        unpack_tar(io.BytesIO(), tmp_path, ("",), "the archive")


def test_import_is_quick():
    code = "import sys, audioflow.cli.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
