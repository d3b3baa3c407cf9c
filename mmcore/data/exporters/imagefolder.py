"""A folder for each split with `metadata.jsonl` and the media beside it, as Hugging Face's imagefolder reads it."""

import json
from collections.abc import Iterator
from pathlib import Path

from mmcore.data.exporters import ending_of, fields_of, name_of
from mmcore.data.modalities import media
from mmcore.data.store import Row


class Exporter:
    """Files and a line for each sample."""

    def write(self, split: str, rows: Iterator[Row], folder: Path) -> None:
        """`<split>/metadata.jsonl` and `<split>/<name>.<ending>`; ValueError for a sample without media."""
        (folder / split).mkdir()
        with open(folder / split / "metadata.jsonl", "x", encoding="utf-8") as lines:
            for row in rows:
                values: dict[str, str] = {}
                for column in media():
                    if row[column] is not None:
                        name = f"{name_of(row['id'])}.{ending_of(column, row[column])}"
                        # A picture and a clip of one sample may both be GIF.
                        name = name if name not in values.values() else f"{column}-{name}"
                        with open(folder / split / name, "xb") as file:
                            file.write(row[column])
                        values["file_name" if column == "image" else f"{column}_file_name"] = name
                if not values:
                    raise ValueError(
                        f"the sample {row['id']} has neither picture nor sound nor clip, which every line of an "
                        "imagefolder names; export as huggingface or webdataset"
                    )
                lines.write(json.dumps(values | fields_of(row), ensure_ascii=False, allow_nan=False) + "\n")

    def finish(self, folder: Path) -> None:
        """Nothing is left to say."""
