"""WebDataset: tar files of bounded size, each sample its media and a JSON file with everything else."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from mmcore.data.exporters import ending_of, fields_of, name_of
from mmcore.data.modalities import media, own_media
from mmcore.data.store import Row

MAX_SHARD_BYTES = 512 << 20
MAX_SHARD_SAMPLES = 10_000


class Exporter:
    """Tar files."""

    def __init__(self, max_bytes: int = MAX_SHARD_BYTES, max_samples: int = MAX_SHARD_SAMPLES) -> None:
        self._max_bytes, self._max_samples = max_bytes, max_samples

    def write(self, split: str, rows: Iterator[Row], folder: Path) -> None:
        """`<split>-NNNNNN.tar`, each ended by the first sample that reaches one of the bounds."""
        row = next(rows, None)
        number = 0
        while row is not None:
            with tarfile.open(folder / f"{split}-{number:06d}.tar", "x:", format=tarfile.USTAR_FORMAT) as tar:
                num_samples = 0
                while row is not None and num_samples < self._max_samples and tar.offset < self._max_bytes:
                    for name, data in _members(row):
                        # A fresh TarInfo states no time, no owner and no host.
                        member = tarfile.TarInfo(name)
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
                    tar.members = []  # type: ignore[attr-defined]  # or it would remember them all
                    num_samples += 1
                    row = next(rows, None)
            number += 1

    def finish(self, folder: Path) -> None:
        """Nothing is left to say."""


def _members(row: Row) -> Iterator[tuple[str, bytes]]:
    key = name_of(row["id"])
    for column in media():
        if row[column] is not None:
            ending = ending_of(column, row[column])
            # An animated picture is a clip here; its ending alone would not tell.
            ending = f"video.{ending}" if column == "video" and ending in ("gif", "webp") else ending
            ending = f"{column}.{ending}" if column in own_media() else ending
            yield f"{key}.{ending}", row[column]
    yield f"{key}.json", json.dumps(fields_of(row), ensure_ascii=False, allow_nan=False).encode()
