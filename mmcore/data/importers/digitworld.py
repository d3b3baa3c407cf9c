"""DigitWorld as a source: nothing is read, everything is generated."""

from collections.abc import Iterator
from pathlib import Path

from mmcore.data import digitworld
from mmcore.data.importers import ImportOptions, Refused, Sample
from mmcore.data.store import SPLITS


class Importer:
    """The generated corpus, in the order and with the bytes that `generate` gives. The source's name is ignored."""

    def __init__(self, sizes: digitworld.Sizes = digitworld.Sizes()) -> None:  # noqa: B008 (frozen)
        self._sizes = sizes

    def read(self, source: Path, options: ImportOptions) -> Iterator[Sample | Refused]:
        if options.map or options.lang_field or options.group or options.positives:
            raise ValueError("DigitWorld has no fields to map; leave out --map, --lang-field, --group and --positives")
        for split in SPLITS:
            for number, row in enumerate(digitworld.rows(split, self._sizes)):
                if options.limit is not None and number >= options.limit:
                    break
                yield {**row, "split": split}

    def fields(self, source: Path, options: ImportOptions) -> dict[str, str]:
        return {}

    def doubts(self, source: Path) -> list[str]:
        return []
