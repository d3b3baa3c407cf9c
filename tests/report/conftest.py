"""A tiny but complete workspace made by code: data, every stage's output, the gate's verdict and the run's record."""

import io
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont

from mmcore.data.store import row, write_manifest, write_shards
from mmcore.tasks import SCHEMA
from mmcore.workspace import Workspace, write_json

COLOURS = {
    "red": "#d33f3f", "green": "#3a9e4d", "blue": "#3f63d3", "yellow": "#d9b62f", "purple": "#8a47b8",
    "orange": "#e0812e",
}  # fmt: skip
KINDS = ("circle", "square", "triangle", "three", "seven", "nine")
STAGES = ("validate", "prepare", "pretrain", "finetune@retrieval", "finetune@captioning", "finetune@summarisation",
          "evaluate", "reference")  # fmt: skip


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _put(image: Image.Image, kind: str, colour: str, x: int, y: int, side: int) -> None:
    draw = ImageDraw.Draw(image)
    box = (x, y, x + side, y + side)
    if kind == "circle":
        draw.ellipse(box, fill=COLOURS[colour])
    elif kind == "square":
        draw.rectangle(box, fill=COLOURS[colour])
    elif kind == "triangle":
        draw.polygon([(x, y + side), (x + side, y + side), (x + side // 2, y)], fill=COLOURS[colour])
    else:
        sign = {"three": "3", "seven": "7", "nine": "9"}[kind]
        draw.text((x, y - 3), sign, fill=COLOURS[colour], font=ImageFont.load_default(side + 6))


def _noise(image: Image.Image, chance: random.Random) -> Image.Image:
    pixels = bytes(min(255, max(0, value + chance.randint(-14, 14))) for value in image.tobytes())
    return Image.frombytes("RGB", image.size, pixels)


def scene(number: int) -> dict[str, Any]:
    """One picture of two things beside each other with three captions."""
    chance = random.Random(number)
    (one, first), (two, second) = ((chance.choice(KINDS), chance.choice(list(COLOURS))) for _ in range(2))
    image = Image.new("RGB", (48, 48), "#26282c")
    _put(image, one, first, chance.randint(2, 6), chance.randint(4, 26), 14)
    _put(image, two, second, chance.randint(26, 30), chance.randint(4, 26), 14)
    captions = [
        f"a {first} {one} to the left of a {second} {two}",
        f"a {second} {two} is right of the {first} {one}",
        f"there is a {first} {one} and a {second} {two}",
    ]
    return row(
        id=f"scene-test-{number:04d}", source="made", image=png(_noise(image, chance)),
        captions=[{"text": text, "lang": "en"} for text in captions],
    )  # fmt: skip


def clip(number: int) -> dict[str, Any]:
    """One moving picture with a summary and a transcript."""
    chance = random.Random(1000 + number)
    kind, colour = chance.choice(KINDS), chance.choice(list(COLOURS))
    frames = []
    for place in range(6):
        frame = Image.new("RGB", (48, 48), "#26282c")
        _put(frame, kind, colour, 4 + 5 * min(place, 3), 10 + 4 * max(place - 3, 0), 14)
        frames.append(_noise(frame, chance))
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], duration=250, loop=0)
    summary = f"the {colour} {kind} moves right and then moves down"
    return row(
        id=f"clip-test-{number:04d}", source="made", video=file.getvalue(), summary=summary,
        transcript=f"um so we see a {colour} {kind} . well it goes to the right . and now it goes down .",
    )  # fmt: skip


def _curves(path: Path, terms: dict[str, float], validation: tuple[float, float], steps: int) -> None:
    """Losses that fall from `terms` on, every 10 steps; four validation rows from the first number to the second."""
    chance = random.Random(steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(["step", "seconds", "lr", "grad_norm", "samples_per_second", *terms, "validation"])]
    for step in range(10, steps + 1, 10):
        fall = 0.12 + 0.88 * math.exp(-4 * step / steps)
        losses = [f"{start * fall * (1 + chance.uniform(-0.06, 0.06)):.5f}" for start in terms.values()]
        lines.append(",".join([str(step), f"{step * 0.2:.2f}", "0.001", "1.2", "640", *losses, ""]))
        if step * 4 % steps == 0:
            first, last = validation
            lines.append(",".join([str(step), *[""] * (4 + len(terms)), f"{last + (first - last) * fall:.3f}"]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _predictions(folder: Path, scenes: list[dict[str, Any]], clips: list[dict[str, Any]]) -> None:
    """Two of three queries are right at once, the others at places that grow; every caption has 0 to 3 wrong words."""
    chance = random.Random(5)
    ids = [one["id"] for one in scenes]
    found = []
    for direction in ("text_to_image", "image_to_text"):
        for place, one in enumerate(scenes):
            top = chance.sample([other for other in ids if other != one["id"]], min(9, len(ids) - 1))
            rank = 1 if place % 3 else min(2 + place, len(ids))
            if rank <= len(top):
                top.insert(rank - 1, one["id"])
            to_image, captions = direction == "text_to_image", [caption["text"] for caption in one["captions"]]
            found.append(
                {
                    "id": f"{direction}/{one['id']}", "input_id": one["id"], "direction": direction,
                    "query": captions[0] if to_image else one["id"], "prediction": top[0],
                    "references": [one["id"]] if to_image else captions, "score": 0.5, "rank": rank,
                    "top": top[:10] if to_image else [f"{other}#1" for other in top[:10]],
                    "top_scores": [1 - k / 10 for k in range(len(top[:10]))],
                }
            )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(found, SCHEMA), folder / "retrieval.parquet")
    for task, samples in (("captioning", scenes), ("summarisation", clips)):
        written = []
        for place, one in enumerate(samples):
            references = [caption["text"] for caption in one["captions"]] or [one["summary"]]
            words = references[0].split()
            for _ in range(place % 4):
                words[chance.randrange(len(words))] = chance.choice(["red", "square", "left", "grows", "circle"])
            written.append(
                {"id": one["id"], "input_id": one["id"], "prediction": " ".join(words), "references": references}
            )
        pq.write_table(pa.Table.from_pylist(written, SCHEMA), folder / f"{task}.parquet")


def _score(value: float, baseline: float, n: int, marks: dict[str, float] | None = None) -> dict[str, Any]:
    return {"value": value, "baseline": baseline, "n": n, "signature": "signature-1.0", "references": marks or {}}


def _evaluation(folder: Path, scenes: int, clips: int) -> None:
    recall = {
        f"{direction}_recall@{k}": _score(value, 0.2 * k, scenes, {"colour histogram": 4.1 * k})
        for direction, values in (("text_to_image", (63.3, 99.1, 100.0)), ("image_to_text", (66.2, 84.2, 95.8)))
        for k, value in zip((1, 5, 10), values, strict=True)
    }
    recall["text_to_image_median_rank"] = _score(1.0, 20.5, scenes)
    texts = {"bleu1": (78.9, 52.0), "bleu4": (55.5, 24.8), "rouge1": (80.2, 60.1), "rougeL": (77.4, 55.0)}
    write_json(
        folder / "metrics.json",
        {
            "retrieval": recall,
            "captioning": {name: _score(*pair, scenes) for name, pair in texts.items()},
            "summarisation": {"rougeL": _score(79.6, 58.0, clips)},
        },
    )
    headline = {"retrieval.text_to_image_recall@1": 63.3, "captioning.bleu4": 55.5, "summarisation.rougeL": 79.6}
    write_json(folder / "scores.json", headline)


def _validated(folder: Path, logs: Path, data: Path) -> None:
    folder.mkdir(parents=True)
    chance = random.Random(3)
    accepted, profile = [], []
    for shard in sorted(data.glob("*/*.parquet")):
        for place, one in enumerate(pq.read_table(shard, columns=["id"]).to_pylist()):
            split = shard.parent.name
            where = {"id": one["id"], "split": split, "shard": f"{split}/{shard.name}", "row": place}
            accepted.append({**where, "verdict": "ok"})
            picture, clip = one["id"].startswith("scene"), one["id"].startswith("clip")
            profile.append(
                {
                    **where, "image_brightness": chance.gauss(0.5, 0.06) if picture else None,
                    "image_contrast": 0.25 if picture else None, "video_motion": chance.random() if clip else None,
                    "caption_words": float(chance.randint(6, 12)) if picture else None, "transcript_words": math.nan,
                }
            )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(accepted), folder / "accepted.parquet")
    pq.write_table(pa.Table.from_pylist(profile), folder / "profile.parquet")
    codes = (
        ("undecodable_image", "the image cannot be decoded: it ends after 812 of 6,204 bytes"),
        ("empty_caption", "caption 3 of 5 is empty"), ("wrong_duration", "meta says 3.0 s, the clip lasts 1.5 s"),
        ("duplicate_across_splits", "the same picture is scene-test-0002 in test"),
    )  # fmt: skip
    held = [
        {"id": f"scene-train-{k:04d}", "verdict": "reject", "problems": [codes[k % 4][0]], "detail": codes[k % 4][1],
         "split": "train", "thumbnail": scene(k)["image"] if k % 4 else None}
        for k in range(10)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(held), folder / "quarantine.parquet")
    whole = len(accepted) + len(held)
    rejected = {"rows": len(held), "ok": 0, "repaired": 0, "flag": 0, "reject": len(held)}
    write_json(
        folder / "summary.json",
        {
            "rows": whole, "accepted": len(accepted), "refused_at_import": 0,
            "splits": {"train": rejected, "test": {"rows": len(accepted), "ok": len(accepted), "reject": 0}},
            "modalities": {"image": {"rows": whole, "accepted": len(accepted)}, "audio": {"rows": 0, "accepted": 0}},
            "problems": {code: {"rows": 3, "verdict": "reject", "meaning": f"what {code} means"} for code, _ in codes},
        },
    )  # fmt: skip
    write_json(logs / "validate" / "status.json", {"state": "done", "reason": "", "error": ""})


def make_workspace(root: Path, *, scenes: int = 12, clips: int = 4) -> Workspace:
    """Fill `root` with everything that the report can show."""
    workspace = Workspace(root)
    pictures, films = [scene(k) for k in range(scenes)], [clip(k) for k in range(clips)]
    write_shards(workspace.data, "test", [*pictures, *films], rows_per_shard=scenes)
    write_manifest(workspace.data)
    workspace.params.write_text("name: digitworld\nseed: 1\n", encoding="utf-8")
    (root / "data.dvc").write_text("outs:\n- md5: 1f2e3d4c5b6a.dir\n  size: 48211034\n  nfiles: 9\n  path: data\n")
    _validated(workspace.validated, workspace.artifacts / "logs", workspace.data)
    _evaluation(workspace.evaluation, scenes, clips)
    _predictions(workspace.evaluation / "predictions", pictures, films)
    terms = {"contrast_image_text": 4.1, "contrast_video_text": 3.9, "masked_language": 4.6, "caption_image": 5.2}
    _curves(workspace.logs("pretrain") / "curves.csv", terms, (12.0, 5.0), 800)
    for task, term, validation in (
        ("retrieval", "contrast", (20.0, 70.0)), ("captioning", "caption", (3.0, 1.1)),
        ("summarisation", "summary", (4.0, 1.5)),
    ):  # fmt: skip
        _curves(workspace.logs(f"finetune@{task}") / "curves.csv", {term: 2.0}, validation, 200)
    for number, stage in enumerate(STAGES):
        write_json(workspace.code(stage), {"sha256": f"{number + 10:064x}", "modules": []})
    for folder in (workspace.pretrained, workspace.tasks / "retrieval", workspace.tasks / "captioning"):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(folder.name.encode())
    compared = [("retrieval.text_to_image_recall@10", 100.0, 12.0), ("captioning.bleu4", 55.5, 27.8)]
    write_json(
        workspace.verdict,
        {
            "verdict": "promote",
            "reasons": [f"{name} is {value}, at least {needed} was needed" for name, value, needed in compared],
            "comparisons": [
                {"metric": name, "value": value, "champion": value - 1.5, "needed": needed, "passed": True}
                for name, value, needed in compared
            ],
            "champion": "v0.1.0",
            "candidate": "9c1f" * 16,
        },
    )
    seconds = (11.2, 9.4, 183.0, 41.0, 44.5, 38.2, 27.9, 6.3)
    write_json(
        workspace.artifacts / "run.json",
        {
            "run": "brave-heron", "started": "2030-01-02T03:04:05+00:00", "device": "CPU", "threads": 2,
            "precision": "fp32", "memory": "7.6 GB", "commit": "4d5e6f" * 6, "release": "v0.2.0",
            "planned": list(STAGES),
            "stages": [
                {"name": name, "seconds": cost, "state": "unchanged" if cost < 10 else "done"}
                for name, cost in zip(STAGES, seconds, strict=True)
            ],
        },
    )  # fmt: skip
    return workspace


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A complete workspace; tests only read it."""
    return make_workspace(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def fresh(whole: Workspace, tmp_path: Path) -> Callable[[], Workspace]:
    """Copies the complete workspace for a test that changes it."""
    return lambda: Workspace(Path(shutil.copytree(whole.root, tmp_path / "project")))
