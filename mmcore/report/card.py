"""The data card of the report: what data/ holds, column by column, and a strip of examples.

Columns are counted as Arrow arrays, and no media are decoded: their sizes stand in the footers of the shards. Each
shard is compared with the manifest first, so what it costs is to hash data/ once.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmcore.data import store
from mmcore.data.frozen import Frozen
from mmcore.data.frozen import read as read_frozen
from mmcore.data.modalities import media
from mmcore.data.survey_page import LANGUAGES
from mmcore.metrics.languages import primary
from mmcore.report import figures
from mmcore.report.media import Picture, Pictures, Store
from mmcore.report.readers import read_table, sentence

READ = ("source", "captions", "labels", "meta")
LICENCE = r'(?i:"licen[cs]e")\s*:\s*"(?P<licence>[^"\\]{1,200})"'
# A label with more values than this is an identifier or a text; its balance says nothing.
LABEL_VALUES = 1000
SHOWN = 8
STRIP = 8
STRIP_BUDGET = 300_000
DASH = "–"


@dataclass
class Contents:
    """Counts over all rows. `bytes`: of the media, by split and by modality; `lengths`: characters of every caption, by
    language ('' where none is stated); `labels`: label -> value -> rows; `licences`: what `meta` says of each row."""

    rows: int = 0
    bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    captioned: int = 0
    lengths: dict[str, list[np.ndarray[Any, Any]]] = field(default_factory=dict)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    licences: Counter[str] = field(default_factory=Counter)
    frozen: Frozen | None = None


@dataclass(frozen=True)
class Example:
    """One of the strip: a picture and its first text."""

    id: str
    picture: Picture | None
    text: str


def read_contents(data: Path) -> Contents | None:
    """The counts over the store at `data`; None where there is none, ValueError for a shard that is not intact."""
    if not (data / store.MANIFEST).is_file():
        return None
    found = Contents(frozen=read_frozen(data))
    for shard in store.shards(data):
        store.check_shard(data / shard.path)
        with pq.ParquetFile(data / shard.path) as file:
            found.rows += file.metadata.num_rows
            _add_sizes(found, shard.split, file.metadata)
            _add_columns(found, file.read(columns=list(READ)))
    return found


def _add_sizes(found: Contents, split: str, metadata: pq.FileMetaData) -> None:
    for group in range(metadata.num_row_groups):
        columns = metadata.row_group(group)
        for place in range(columns.num_columns):
            column = columns.column(place)
            if column.path_in_schema in media():
                found.bytes[split, column.path_in_schema] += column.total_uncompressed_size


def _add_columns(found: Contents, table: pa.Table) -> None:
    found.sources.update(_counts(table["source"]))
    for chunk in table["captions"].chunks:
        found.captioned += pc.sum(pc.greater(pc.list_value_length(chunk), 0)).as_py() or 0
        captions = pc.list_flatten(chunk)
        languages = pc.fill_null(pc.struct_field(captions, "lang"), "")
        lengths = pc.fill_null(pc.utf8_length(pc.struct_field(captions, "text")), 0)
        for language in pc.unique(languages).to_pylist():
            own = lengths.filter(pc.equal(languages, language))
            found.lengths.setdefault(language, []).append(own.to_numpy(zero_copy_only=False))
    for chunk in table["labels"].chunks:
        pairs = pc.binary_join_element_wise(chunk.keys, chunk.items, "\0")
        for pair, count in _counts(pairs).items():
            label, _, value = pair.partition("\0")
            found.labels.setdefault(label, Counter())[value] += count
    stated = pc.struct_field(pc.extract_regex(table["meta"], LICENCE), "licence")
    found.licences.update(_counts(stated))


def _counts(column: Any) -> dict[str, int]:
    """How often each value that is not null occurs."""
    pairs = pc.value_counts(column).to_pylist()
    return {pair["values"]: pair["counts"] for pair in pairs if pair["values"] is not None}


# What the template shows ----------------------------------------------------------------------------------------------


def card(found: Contents | None, summary: dict[str, Any] | None) -> dict[str, Any] | None:
    """Tables of languages, sources and licences, the balance of the labels, sizes, and facts in a line each."""
    if found is None:
        return None
    languages = {language: np.concatenate(lengths) for language, lengths in found.lengths.items()}
    return {
        "tables": [
            _table("Language", ["Captions", "Median characters"], {
                _language(name): [len(lengths), f"{np.median(lengths):.0f}"]
                for name, lengths in sorted(languages.items(), key=lambda item: -len(item[1]))
            }),
            _table("Source", ["Samples"], {name or "unknown": [count] for name, count in found.sources.most_common()}),
            _table("Licence", ["Samples"], _licences(found)),
        ],
        "labels": [_label(name, values) for name, values in found.labels.items() if len(values) <= LABEL_VALUES],
        "sizes": {
            "split": {split: _size(found, lambda key, split=split: key[0] == split) for split in store.SPLITS},
            "modality": {name: _size(found, lambda key, name=name: key[1] == name) for name in media()},
        },
        "facts": [*_facts(found, languages), *_duplicates(summary)],
    }  # fmt: skip


def _table(title: str, columns: list[str], rows: dict[str, list[int | str]]) -> dict[str, Any]:
    shown = [{"name": name, "counts": counts} for name, counts in list(rows.items())[:SHOWN]]
    return {"title": title, "columns": columns, "rows": shown, "more": max(len(rows) - SHOWN, 0)}


def _language(code: str) -> str:
    known = LANGUAGES.get(primary(code))
    return f"{known} ({code})" if known else code or "not stated"


def _licences(found: Contents) -> dict[str, list[int | str]]:
    """Empty where no row states one: then there is nothing to show."""
    if not found.licences:
        return {}
    silent = found.rows - found.licences.total()
    named: dict[str, list[int | str]] = {name: [count] for name, count in found.licences.most_common()}
    return named | ({"not stated": [silent]} if silent else {})


def _label(name: str, values: Counter[str]) -> dict[str, Any]:
    """The most frequent values of one label, and how uneven all of them are."""
    largest, smallest = max(values.values()), min(values.values())
    uneven = f", the most frequent {largest / smallest:.3g} times the rarest" if largest > smallest else ""
    return {
        "name": sentence(name), "count": f"{len(values):,} value{'s' * (len(values) != 1)}{uneven}",
        "more": max(len(values) - SHOWN, 0),
        "values": [
            {"name": value, "count": count, "svg": figures.share(count, largest, label=f"{count:,} samples")}
            for value, count in values.most_common(SHOWN)
        ],
    }  # fmt: skip


def _size(found: Contents, chosen: Any) -> str:
    total = sum(size for key, size in found.bytes.items() if chosen(key))
    return size_in_words(total)


def size_in_words(size: int) -> str:
    """`820 kB`, `4.6 GB`; a dash for next to nothing."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return DASH


def _facts(found: Contents, languages: dict[str, Any]) -> list[tuple[str, str]]:
    captions = sum(map(len, languages.values()))
    media = size_in_words(found.bytes.total())
    facts = [("Samples", f"{found.rows:,}" + (f", {media} of media" if media != DASH else ""))]
    if captions:
        facts.append(("Captions", f"{captions:,}, {captions / found.captioned:.1f} for each sample that has any"))
    if found.frozen:
        facts.append(("Test split", f"frozen at {found.frozen.rows:,} samples, {found.frozen.sha256[:12]}"))
    return facts


def _duplicates(summary: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What validation found of them, by its codes."""
    problems = (summary or {}).get("problems", {})
    found = {code: int(entry["rows"]) for code, entry in problems.items() if re.search("duplicate", code)}
    if summary is None:
        return []
    said = ", ".join(f"{count:,} {sentence(code).lower()}" for code, count in found.items())
    return [("Duplicates", said or "none found")]


# Examples -------------------------------------------------------------------------------------------------------------


def strip(data: Path, validated: Path) -> list[Example]:
    """A few accepted samples that can be seen, evenly from the first to the last."""
    accepted = read_table(validated / "accepted.parquet")
    profile = read_table(validated / "profile.parquet", ("id", "has_image", "has_video"))
    if accepted is None or profile is None or profile.num_columns < 3:
        return []
    visible = profile.filter(pc.or_(profile["has_image"], profile["has_video"]))["id"]
    ids = accepted["id"].filter(pc.is_in(accepted["id"], value_set=visible.combine_chunks()))
    chosen = [ids[place].as_py() for place in dict.fromkeys(_spread(len(ids)))]
    rows = Store(data, accepted).rows(chosen, ["image", "video", "captions", "summary"])
    pictures = Pictures(STRIP_BUDGET)
    return [
        Example(id, pictures.make(rows[id]["image"] or rows[id]["video"]), _text(rows[id]))
        for id in chosen if id in rows
    ]  # fmt: skip


def _spread(total: int) -> Iterator[int]:
    yield from (place * total // STRIP for place in range(STRIP) if total)


def _text(row: dict[str, Any]) -> str:
    return str(row["captions"][0]["text"] if row["captions"] else row["summary"] or "")
