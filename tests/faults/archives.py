"""Hostile tar files through the importer: `python -m tests.faults.archives`.

Each holds two honest samples before and one after what is hostile. Nothing outside the archive may be read or written,
nothing hostile may become a row with foreign content, and no archive may cost much memory or time.
"""

import gzip
import io
import json
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmcore.data import store
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import REFUSED, import_data
from mmcore.data.modalities import media
from tests.faults import dirty_memory
from tests.faults.dirty_clean import encoded, photo

SECRET = b"canary: this stands outside of the archive"
MAX_GROWTH = 64 << 20
MAX_SECONDS = 20.0

Member = tuple[tarfile.TarInfo, bytes]
ARCHIVES: dict[str, "Archive"] = {}


@dataclass(frozen=True)
class Archive:
    """`make` gives the members between the two honest ones; `spoil` changes the bytes of the whole file.

    `rows`: the most rows that may come of it; `refused`: whether something has to be refused.
    """

    make: Callable[[Path], list[Member]]
    spoil: Callable[[bytes], bytes] = bytes
    rows: int = 3
    refused: bool = True


def picture(number: int) -> bytes:
    return encoded(photo(np.random.default_rng([5, number]), 40, 40), "JPEG")


def member(name: str, data: bytes = b"", **fields: object) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def sample(key: str, number: int) -> list[Member]:
    return [member(f"{key}.jpg", picture(number)), member(f"{key}.txt", f"a picture, number {number}".encode())]


def write(path: Path, archive: Archive, outside: Path) -> None:
    """The archive, with honest samples at either end."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in [*sample("first", 1), *sample("second", 2), *archive.make(outside), *sample("last", 9)]:
            tar.addfile(info, io.BytesIO(data))
    path.parent.mkdir(parents=True)
    path.write_bytes(archive.spoil(file.getvalue()))


# Names that lead elsewhere -------------------------------------------------------------------------------------------


def _named(name: str) -> Archive:
    return Archive(lambda outside: [member(name, picture(3))])


def _linked(kind: bytes, name: str = "x.jpg", target: str = "") -> Archive:
    return Archive(lambda outside: [member(name, type=kind, linkname=target or str(outside))])


ARCHIVES |= {
    "parent": _named("../x.jpg"),
    "parent inside": _named("a/../../x.jpg"),
    "absolute": Archive(lambda outside: [member(str(outside.with_name("x.jpg")), picture(3))]),
    "home": _named("~/x.jpg"),
    "drive": _named("C:/x.jpg"),
    "backslashes": _named("..\\..\\x.jpg"),
    "zero byte": Archive(lambda outside: [member("a.jpg", picture(3), pax_headers={"path": "a\0/../b.jpg"})]),
    "path in extended header": Archive(
        lambda outside: [member("x.jpg", picture(3), pax_headers={"path": "../../x.jpg"})]
    ),
    "no UTF-8": Archive(lambda outside: [member("x\udcff.jpg", picture(3))], rows=4, refused=False),
    "symbolic link": _linked(tarfile.SYMTYPE),
    "hard link": _linked(tarfile.LNKTYPE),
    "hard link to a parent": _linked(tarfile.LNKTYPE, target="../outside/secret.jpg"),
    "link to a folder, then through it": Archive(
        lambda outside: [
            member("d", type=tarfile.SYMTYPE, linkname=str(outside.parent)),
            member("d/x.jpg", picture(3)),
        ],
        rows=4,
    ),
    "chain of links": Archive(
        lambda outside: [
            member("a.jpg", type=tarfile.SYMTYPE, linkname="b.jpg"),
            member("b.jpg", type=tarfile.SYMTYPE, linkname="c.jpg"),
            member("c.jpg", type=tarfile.SYMTYPE, linkname=str(outside)),
        ]
    ),
    "link to itself": _linked(tarfile.SYMTYPE, target="x.jpg"),
    "character device": Archive(lambda outside: [member("x.jpg", type=tarfile.CHRTYPE, devmajor=1, devminor=5)]),
    "block device": Archive(lambda outside: [member("x.jpg", type=tarfile.BLKTYPE, devmajor=8)]),
    "pipe": Archive(lambda outside: [member("x.jpg", type=tarfile.FIFOTYPE)]),
    "path in the fields": Archive(
        lambda outside: [
            member("x.json", json.dumps(dict.fromkeys(("image", "file_name", "jpg", "path"), str(outside))).encode())
        ],
        rows=4,
        refused=False,
    ),
}  # fmt: skip


# Sizes and numbers ---------------------------------------------------------------------------------------------------


def _resized(data: bytes, field: bytes) -> bytes:
    """The archive with another size in the header of `x.jpg`, and the check sum that belongs to it."""
    place = data.index(b"x.jpg\0")
    header = bytearray(data[place : place + 512])
    header[124:136] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:place] + bytes(header) + data[place + 512 :]


def _one(outside: Path) -> list[Member]:
    return [member("x.jpg", picture(3))]


def _spoilt_header(data: bytes) -> bytes:
    place = data.index(b"x.jpg\0")
    return data[: place + 148] + b"0000000\0" + data[place + 156 :]


def _long_name(outside: Path) -> list[Member]:
    return [member("x" * 1_000_000 + ".jpg", picture(3))]


def _zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../x.jpg", picture(3))
    return file.getvalue()


ARCHIVES |= {
    "eight terabytes stated": Archive(_one, lambda data: _resized(data, b"\x80" + (8 << 40).to_bytes(11, "big"))),
    "less than nothing stated": Archive(_one, lambda data: _resized(data, b"\xff" * 11 + b"\x00")),
    "size is no number": Archive(_one, lambda data: _resized(data, b"99999999999\0")),
    "sparse giant": Archive(
        lambda outside: [
            member("x.jpg", b"1\n0\n1\n" + bytes(506) + b"x", pax_headers={
                "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x.jpg",
                "GNU.sparse.realsize": str(1 << 40),
            })
        ]
    ),
    "check sum is wrong": Archive(_one, _spoilt_header),
    "cut in a member": Archive(_one, lambda data: data[: data.index(b"x.jpg\0") + 700]),
    "cut in a header": Archive(_one, lambda data: data[: data.index(b"x.jpg\0") + 100]),
    "no end": Archive(_one, lambda data: data[: data.rindex(b"ustar") + 1024 - 257], rows=5),
    "a name of a megabyte": Archive(_long_name, rows=4, refused=False),
    "a hundred thousand members": Archive(
        lambda outside: [member(f"{number:06d}.cls", b"7") for number in range(100_000)], rows=100_003, refused=False
    ),
    "fields without end": Archive(lambda outside: [member("x.json", b"[" * 500_000)]),
    "a text of a hundred megabytes": Archive(lambda outside: [member("x.txt", bytes(100 << 20))]),
    "names that differ in case": Archive(
        lambda outside: [*sample("Same", 3), *sample("other", 4), *sample("same", 5)], rows=5
    ),
    "names that differ in form": Archive(
        lambda outside: [*sample("caf\u00e9", 3), *sample("other", 4), *sample("cafe\u0301", 5)], rows=5
    ),
    "one name twice": Archive(lambda outside: [member("x.jpg", picture(3)), member("x.jpg", picture(4))]),
    "key that comes back": Archive(lambda outside: [*sample("x", 3), *sample("y", 4), *sample("x", 5)], rows=5),
}  # fmt: skip
# Of these nothing at all can be read: the import has to say so in a sentence.
UNREADABLE = {
    "a zip": _zipped,
    "packed": lambda data: gzip.compress(data, mtime=0),
    "a bomb, packed": lambda data: gzip.compress(bytes(64 << 20), mtime=0),
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(10240),
    "a web page": lambda data: b"<html>not here</html>" * 100,
}


# Judging -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """What became of an archive: rows, processor seconds, bytes of memory; `wrong`: what should not have happened."""

    rows: int
    refused: int
    seconds: float
    growth: int
    wrong: tuple[str, ...]


def judge(name: str, folder: Path) -> Finding:
    """Import the archive `name` in the empty `folder`."""
    archive = ARCHIVES[name] if name in ARCHIVES else Archive(_one, UNREADABLE[name], rows=0)
    outside = folder / "outside" / "secret.jpg"
    outside.parent.mkdir()
    outside.write_bytes(SECRET)
    write(folder / "source" / "train" / "a.tar", archive, outside)
    before = set(folder.rglob("*"))
    memory, started = dirty_memory.settled(), time.process_time()
    said = ""
    try:
        import_data(folder / "source", folder / "data", format="webdataset", options=ImportOptions())
    except ValueError as error:
        said = str(error)
    finding = Finding(0, 0, time.process_time() - started, dirty_memory.peak() - memory, ())
    new = set(folder.rglob("*")) - before
    astray = sorted(str(path) for path in new if not path.is_relative_to(folder / "data"))
    wrong = [f"{path} was written" for path in astray]
    if said:
        return replace(finding, wrong=(*wrong, *([] if name in UNREADABLE else [f"nothing was imported: {said}"])))
    return _looked_through(folder / "data", archive, replace(finding, wrong=tuple(wrong)))


def _looked_through(data: Path, archive: Archive, finding: Finding) -> Finding:
    rows = [row for shard in store.shards(data) for row in store.read_rows(data / shard.path)]
    refused = store.read_table(data / REFUSED).to_pylist() if (data / REFUSED).is_file() else []
    wrong = list(finding.wrong)
    if any(SECRET in (row[name] or b"") for row in rows for name in media()):
        wrong.append("a file outside of the archive was read")
    if len(rows) > archive.rows:
        wrong.append(f"{len(rows)} rows came of it, at most {archive.rows} may")
    if not any(row["captions"] and row["captions"][0]["text"] == "a picture, number 1" for row in rows):
        wrong.append("the honest sample before it was lost")
    if archive.refused and not refused:
        wrong.append("nothing was refused")
    if finding.growth > MAX_GROWTH or finding.seconds > MAX_SECONDS:
        wrong.append(f"it took {finding.seconds:.1f} s and {finding.growth / 2**20:.0f} MiB")
    return replace(finding, rows=len(rows), refused=len(refused), wrong=tuple(wrong))


def main() -> None:
    failed = 0
    for name in [*ARCHIVES, *UNREADABLE]:
        with tempfile.TemporaryDirectory() as folder:
            found = judge(name, Path(folder))
        failed += bool(found.wrong)
        cost = f"{found.seconds:5.2f} s {found.growth / 2**20:6.1f} MiB"
        print(f"{name:36} {found.rows:6} rows {found.refused:3} refused {cost}  {'; '.join(found.wrong) or 'held'}")
    print(f"{len(ARCHIVES) + len(UNREADABLE)} archives, {failed} not held")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
