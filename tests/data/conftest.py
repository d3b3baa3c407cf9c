"""A small DigitWorld and its preparation, made once."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.data import digitworld, store
from mmcore.data.modalities import media
from mmcore.data.prepare import prepare
from mmcore.settings import PrepareSettings

SETTINGS = PrepareSettings(
    image_size=48, image_resize=None, video_size=24, video_frames=3, audio_rate=8000, audio_mels=40,
    audio_seconds=4.0, tokenizer=None, vocabulary=400, lowercase=True, context=32, transcript_context=96,
)  # fmt: skip
SIZES = digitworld.Sizes(scenes=(12, 4, 5), clips=(4, 2, 3), sentiments=(3, 2, 2), faults=(10, 5, 0))


def generate(root: Path, *, processes: int = 1) -> Path:
    root.mkdir()
    digitworld.generate(
        root, scenes=SIZES.scenes, clips=SIZES.clips, sentiments=SIZES.sentiments, faults=SIZES.faults,
        processes=processes,
    )  # fmt: skip
    return root


def accept(data: Path, validated: Path, *, without: tuple[str, ...] = ()) -> Path:
    """What `validate` leaves for `prepare`, all rows accepted but those named."""
    rows = [
        {
            "id": row["id"],
            "split": shard.split,
            "shard": shard.path,
            "row": number,
            "verdict": "ok",
            **{f"has_{name}": row[name] is not None for name in media()},
        }
        for shard in store.shards(data)
        for number, row in enumerate(store.read_rows(data / shard.path, ["id", *media()]))
    ]
    validated.mkdir()
    pq.write_table(
        pa.Table.from_pylist([row for row in rows if row["id"] not in without]), validated / "accepted.parquet"
    )
    profile = [{name: value for name, value in row.items() if name != "verdict"} for row in rows]
    pq.write_table(pa.Table.from_pylist(profile), validated / "profile.parquet")
    return validated


def rows_of(data: Path) -> dict[str, list[store.Row]]:
    found: dict[str, list[store.Row]] = {split: [] for split in store.SPLITS}
    for shard in store.shards(data):
        found[shard.split] += store.read_rows(data / shard.path)
    return found


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("world") / "data")


@pytest.fixture(scope="session")
def faulty() -> tuple[str, ...]:
    """Ids of the rows that cannot be decoded."""
    return tuple(digitworld.identity("fault", split, index) for split in ("train", "validation") for index in range(10))


@pytest.fixture(scope="session")
def prepared(world: Path, faulty: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("prepared")
    output = base / "prepared"
    output.mkdir()
    prepare(world, accept(world, base / "validated", without=faulty), output, SETTINGS, processes=1)
    return output
