"""Chooses examples from the predictions: some that went well, some that did not, always the same ones."""

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import pyarrow as pa

from mmcore.data.modalities import media
from mmcore.report.media import Picture, Pictures, Row, Store

SHOWN = 5
TEXT_COLUMNS = ["captions", "transcript", "summary", "speech_text", "positives"]
MEDIA_COLUMNS = ["image", "video"]
# Longer predictions are cut: a model that has not learnt to stop fills its whole context.
WORDS = 60
KANA = re.compile(r"[\u3040-\u30ff]")
HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
HANGUL = re.compile(r"[\u1100-\u11ff\uac00-\ud7af]")


@dataclass(frozen=True)
class Word:
    """`known`: whether a reference has this word, too."""

    text: str
    known: bool


@dataclass(frozen=True)
class Described:
    """A picture or clip, what was asked about it if anything was, the words the model found and the words people found;
    `overlap` (0 to 1) says how much the two have in common."""

    id: str
    picture: Picture | None
    asked: str
    prediction: list[Word]
    references: list[str]
    transcript: str
    overlap: float

    @property
    def spaced(self) -> bool:
        return not any(_unspaced(word.text) for word in self.prediction)


@dataclass(frozen=True)
class Candidate:
    """One answer to a query: a text, or a picture with the text that says what it shows; `right` if it belongs."""

    place: int
    right: bool
    picture: Picture | None
    text: str


@dataclass(frozen=True)
class Query:
    """A query with its best answers; `missed` is the right answer where it is not among them."""

    id: str
    rank: int
    picture: Picture | None
    text: str
    candidates: list[Candidate]
    missed: Candidate | None


@dataclass(frozen=True)
class Gallery:
    """One direction of retrieval; `target` is the modality that was looked for."""

    direction: str
    queries: int
    target: str
    found: list[Query] = field(default_factory=list)
    missed: list[Query] = field(default_factory=list)

    @property
    def pictured(self) -> bool:
        return self.target in MEDIA_COLUMNS


def language(text: str) -> str:
    """`ja`, `zh` or `ko` where the signs of `text` say so, that a browser takes the right glyphs; else empty."""
    found = (name for name, signs in (("ja", KANA), ("zh", HAN), ("ko", HANGUL)) if signs.search(text))
    return next(found, "")


def _unspaced(text: str) -> bool:
    return language(text) in ("ja", "zh")


def described(table: pa.Table, store: Store, pictures: Pictures, count: int) -> list[Described]:
    """`count` predictions spread evenly from the one closest to its references to the furthest, with their pictures."""
    rows = table.select(["id", "input_id", "query", "prediction", "references"]).to_pylist()
    for row in rows:
        row["overlap"] = overlap(str(row["prediction"] or ""), [str(text) for text in row["references"] or []])
    ordered = sorted(rows, key=lambda row: (-row["overlap"], str(row["id"])))
    chosen = [ordered[place] for place in _spread(len(ordered), count)]
    contents = store.rows([str(row["input_id"]) for row in chosen], [*MEDIA_COLUMNS, *TEXT_COLUMNS])
    return [_described(row, contents.get(str(row["input_id"]), {}), pictures) for row in chosen]


def _described(row: Row, content: Row, pictures: Pictures) -> Described:
    references = [str(text) for text in row["references"] or []]
    return Described(
        str(row["id"]), pictures.make(content.get("image") or content.get("video")), str(row["query"] or ""),
        _words(str(row["prediction"] or ""), references), references, str(content.get("transcript") or ""),
        row["overlap"],
    )  # fmt: skip


def overlap(prediction: str, references: list[str]) -> float:
    """The largest F1 of words and pairs of neighbouring words with one of the references, 0 to 1.

    Only orders the examples: the metrics proper belong to whole sets of predictions.
    """
    mine = _pieces(prediction)
    best = 0.0
    for theirs in map(_pieces, references):
        both = 2 * (mine & theirs).total()
        best = max(best, both / max(mine.total() + theirs.total(), 1))
    return best


def _pieces(text: str) -> Counter[tuple[str, ...]]:
    words = [word for word in map(_plain, _split(text)) if word]
    return Counter([*((word,) for word in words), *pairwise(words)])


def _split(text: str) -> list[str]:
    """Words, or signs where the language has no spaces."""
    return [sign for sign in text if not sign.isspace()] if _unspaced(text) else text.split()


def _words(prediction: str, references: list[str]) -> list[Word]:
    known = {_plain(part) for text in references for part in _split(text)}
    words = [Word(part, not _plain(part) or _plain(part) in known) for part in _split(prediction)]
    return words if len(words) <= WORDS else [*words[:WORDS], Word("…", True)]


def _plain(word: str) -> str:
    return "".join(sign for sign in word.casefold() if sign.isalnum())


def galleries(table: pa.Table, store: Store, pictures: Pictures, count: int) -> list[Gallery]:
    """For each direction of retrieval, `count` queries whose right answer came first and `count` of the worst."""
    everything = table.drop_columns(["top_scores"]).to_pylist()
    directions = list(dict.fromkeys(row["direction"] for row in everything))
    made = []
    for direction in directions:
        rows = [row for row in everything if row["direction"] == direction and row["top"]]
        made.append(_gallery(str(direction), rows, store, pictures, count))
    return [gallery for gallery in made if gallery.found or gallery.missed]


def _gallery(direction: str, rows: list[Row], store: Store, pictures: Pictures, count: int) -> Gallery:
    source, _, target = direction.partition("_to_")
    hits = [row for row in rows if row["rank"] == 1]
    misses = sorted((row for row in rows if row["rank"] > 1), key=lambda row: (-row["rank"], str(row["id"])))
    chosen = [[hits[place] for place in _spread(len(hits), count)], misses[:count]]
    shown = [*chosen[0], *chosen[1]]
    ids = [str(row["input_id"]) for row in shown]
    ids += [sample_of(str(id), target)[0] for row in shown for id in row["top"][:SHOWN]]
    contents = store.rows(ids, [*TEXT_COLUMNS, *MEDIA_COLUMNS])
    found, missed = ([_query(row, source, target, contents, pictures) for row in part] for part in chosen)
    return Gallery(direction, len(rows), target, found, missed)


def _query(row: Row, source: str, target: str, contents: dict[str, Row], pictures: Pictures) -> Query:
    own = str(row["input_id"])
    belonging = {own, *(str(id) for id in row.get("references") or [])}
    positives = contents.get(own, {}).get("positives")
    candidates = []
    for place, answer in enumerate(map(str, row["top"][:SHOWN]), 1):
        base, number = sample_of(answer, target)
        same = positives is not None and contents.get(base, {}).get("positives") == positives
        right = same or base in belonging or answer in belonging
        candidates.append(Candidate(place, right, *_content(base, number, target, contents, pictures)))
    missed = None
    if not any(candidate.right for candidate in candidates):
        missed = Candidate(int(row["rank"]), True, *_content(own, 0, target, contents, pictures))
    picture, text = _content(own, 0, source, contents, pictures)
    asked = text if source in media() else str(row["query"])
    return Query(own, int(row["rank"]), picture, asked, candidates, missed)


def sample_of(id: str, kind: str) -> tuple[str, int]:
    """The sample that the id of a medium or a text names, of a text also the number of the caption: `scene-7#2` ->
    (`scene-7`, 2)."""
    if kind in media():
        return id, 0
    base, mark, place = id.rpartition("#")
    return (base, int(place)) if mark and place.isdigit() else (id, 0)


def _content(
    id: str, place: int, kind: str, contents: dict[str, Row], pictures: Pictures
) -> tuple[Picture | None, str]:
    """What the sample `id` shows or says in the modality `kind`; `place`: which of its captions."""
    content = contents.get(id, {})
    captions = [str(caption["text"]) for caption in content.get("captions") or []]
    spoken = str(content.get("speech_text") or content.get("transcript") or "")
    text = captions[place] if place < len(captions) else str(content.get("summary") or spoken or id)
    if kind in MEDIA_COLUMNS:
        return pictures.make(content.get(kind)), text
    return None, (spoken or text) if kind in ("speech", "audio") else text


def _spread(total: int, count: int) -> list[int]:
    """`count` places evenly from the first to the last of `total`, each at most once."""
    if total <= count:
        return list(range(total))
    return [round(place * (total - 1) / (count - 1)) for place in range(count)] if count > 1 else [0]
