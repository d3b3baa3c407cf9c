"""A release's models, asked without a server, against the models of the task folders."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmcore import params
from mmcore.models.compression import Int8, to_int8
from mmcore.models.multimodal import MultimodalModel
from mmcore.serving import weights
from mmcore.serving.predictor import Predictor
from mmcore.serving.uploads import Item
from mmcore.workspace import write_json
from tests import tiny
from tests.conftest import ROOT
from tests.models.encoders.test_backbone import READERS
from tests.models.test_encoders import OPTIONS
from tests.serving.conftest import World, apng, png

pytestmark = pytest.mark.bento


@pytest.fixture(scope="module")
def predictor(world: World) -> Predictor:
    return Predictor(world.release)


def test_equal_weights_of_the_tasks_are_one_tensor_in_memory(predictor: Predictor) -> None:
    first, second = predictor.models["retrieval"], predictor.models["captioning"]
    name = "encoders.image.stem.0.weight"
    assert first.get_parameter(name).data_ptr() == second.get_parameter(name).data_ptr()
    name = "decoder.embedding.weight"
    assert first.get_parameter(name).data_ptr() != second.get_parameter(name).data_ptr()


def test_an_image_file_becomes_the_array_that_training_sees(predictor: Predictor) -> None:
    pixels = tiny.picture("red", "left")
    assert np.array_equal(predictor.decode("image", png(pixels)), pixels)


def test_a_clip_file_becomes_frames(predictor: Predictor) -> None:
    frames = tiny.clip(1)["video"]
    assert np.array_equal(predictor.decode("video", apng(frames)), frames)


def test_mixed_items_are_embedded_as_they_are_alone(predictor: Predictor) -> None:
    items = [
        Item("text", "a red square"), Item("image", tiny.picture("red", "left")), Item("audio", tiny.tone("red", 0)),
        Item("video", tiny.clip(1)["video"]), Item("audio", tiny.tone("blue", 5)), Item("text", "blue"),
    ]  # fmt: skip
    together = predictor.embed(items)
    alone = np.concatenate([predictor.embed([item]) for item in items])
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(6), abs=1e-5)


def test_answers_are_those_of_the_task_models(predictor: Predictor, world: World) -> None:
    pixels, row = tiny.picture("blue", "right"), tiny.clip(1)
    present = torch.ones(1, dtype=torch.bool)
    model = MultimodalModel.load(world.tasks / "captioning")
    expected = model.generate({"image": (torch.from_numpy(pixels)[None], present)})
    assert predictor.caption([png(pixels)]) == expected
    model = MultimodalModel.load(world.tasks / "summarisation")
    said = model.processor.texts([row["transcript"]], context=tiny.PREPARE.transcript_context)
    expected = model.generate({"video": (torch.from_numpy(row["video"])[None], present), "transcript": said})
    assert predictor.summarise(apng(row["video"]), row["transcript"]) == expected[0]


def test_a_choice_is_that_of_the_task_s_head_whatever_it_is_asked_with(predictor: Predictor, world: World) -> None:
    pixels, present = tiny.picture("blue", "right"), torch.ones(1, dtype=torch.bool)
    model = MultimodalModel.load(world.tasks / "where")
    encoded = {
        "image": model.encode("image", torch.from_numpy(pixels)[None], present),
        "text": model.encode("text", *model.processor.texts(["a blue square"])),
    }
    shares = model.answer("place", encoded).softmax(1)[0].tolist()
    asked = {"image": pixels, "text": "a blue square"}
    question = ("questions", {"question": "which colour is it?", "image": pixels})
    found, alone, other = predictor.choose_all([("where", asked), ("where", {"image": pixels}), question])
    assert found["classes"] == pytest.approx(dict(zip(["left", "right"], shares, strict=True)), abs=1e-5)
    assert found["answer"] == max(found["classes"], key=found["classes"].__getitem__)
    assert found["probability"] == max(found["classes"].values())
    assert predictor.choose_all([("where", {"image": pixels})])[0]["classes"] == pytest.approx(
        alone["classes"], abs=1e-5
    )
    assert alone["classes"] != pytest.approx(found["classes"], abs=1e-5)
    encoded["image"] = model.encode("image", torch.from_numpy(pixels)[None], ~present)
    shares = model.answer("place", encoded).softmax(1)[0].tolist()
    (unseen,) = predictor.choose_all([("where", {"text": "a blue square"})])
    assert unseen["classes"] == pytest.approx(dict(zip(["left", "right"], shares, strict=True)), abs=1e-5)
    assert len(other["classes"]) == 4
    assert predictor.identity()["chooses"] == {
        "questions": ["question", "image"], "where": ["image", "text"], "heard": ["audio"],
        "anomalies": ["video"], "odd_image": ["image"], "odd_audio": ["audio"], "odd_text": ["text"],
    }  # fmt: skip


def test_ranking_gives_places_and_the_score_of_each_as_it_came(predictor: Predictor) -> None:
    images = [Item("image", predictor.decode("image", png(tiny.picture(colour, "left")))) for colour in tiny.COLOURS]
    order, scores = predictor.rank(Item("text", "a red square"), images)
    assert order == sorted(range(3), key=lambda place: -scores[place])
    expected = predictor.embed(images) @ predictor.embed_texts(["a red square"])[0]
    assert scores == pytest.approx(expected.tolist(), abs=1e-5)
    order, scores = predictor.rank(images[0], [Item("text", "one"), Item("text", "two")])
    assert sorted(order) == [0, 1]


def test_a_summary_needs_only_one_of_clip_and_transcript(predictor: Predictor) -> None:
    assert isinstance(predictor.summarise(None, "well this goes"), str)
    assert isinstance(predictor.summarise(apng(tiny.clip(0)["video"]), None), str)


def test_more_items_than_a_batch_are_answered_in_order(predictor: Predictor) -> None:
    images = [Item("image", tiny.picture(colour, "left", seed)) for seed in range(30) for colour in tiny.COLOURS]
    assert len(images) > predictor.max_batch
    assert predictor.caption_all(images)[-3:] == predictor.caption_all(images[-3:])


def test_the_identity_is_hashed_from_what_is_in_memory(predictor: Predictor, world: World) -> None:
    identity = predictor.identity()
    assert identity["model_hash"] == world.model_hash
    assert identity["weights_hash"] == identity["released"]["weights_hash"]
    weight = predictor.models["captioning"].get_parameter("decoder.bias")
    before = float(weight[0])
    weight[0] = before + 1e-3
    try:
        assert predictor.identity()["weights_hash"] != identity["weights_hash"]
    finally:
        weight[0] = before


def test_a_task_that_was_not_released_is_named(predictor: Predictor) -> None:
    with pytest.raises(LookupError, match="no model for vqa; it has: retrieval, captioning, summarisation"):
        predictor._model("vqa")


# Models in int8 -------------------------------------------------------------------------------------------------------


def test_a_packaged_int8_model_answers_as_the_saved_one_whatever_it_is_asked_with(world: World, tmp_path: Path) -> None:
    models = {task: MultimodalModel.load(world.tasks / task) for task in ("retrieval", "captioning", "where")}
    for model in models.values():
        to_int8(model)
        model.compression = {"prune": 0.0, "drop_layers": {}, "int8": True}
    predictor = released(tmp_path, models)
    found: Any = predictor.models["retrieval"].get_submodule("encoders.text.blocks.0.feed.0")
    assert isinstance(found, Int8)
    assert found.values.data_ptr() == predictor._weights["retrieval"]["encoders.text.blocks.0.feed.0.values"].data_ptr()
    texts, images = ["a red square", "blue"], [tiny.picture(colour, "left") for colour in tiny.COLOURS]
    items = [Item("image", image) for image in images]
    with torch.inference_mode():
        expected = models["retrieval"].embed("text", *models["retrieval"].processor.texts(texts)).numpy()
    assert predictor.embed_texts(texts) == pytest.approx(expected, abs=1e-6)
    # Numbers are rounded row by row, so what else is asked at the same time changes nothing.
    alone = np.concatenate([predictor.embed([item]) for item in items])
    assert predictor.embed(items) == pytest.approx(alone, abs=1e-6)
    seen = torch.from_numpy(np.stack(images)), torch.ones(3, dtype=torch.bool)
    assert predictor.caption_all(items) == models["captioning"].generate({"image": seen})
    encoded = {"image": models["where"].encode("image", *seen)}
    encoded["text"] = models["where"].encode("text", *models["where"].processor.texts(["a blue square"] * 3))
    shares = models["where"].answer("place", encoded).softmax(1).tolist()
    chosen = predictor.choose_all([("where", {"image": image, "text": "a blue square"}) for image in images])
    assert [[answer["classes"][name] for name in ("left", "right")] for answer in chosen] == [
        pytest.approx(row, abs=1e-6) for row in shares
    ]


def test_the_whole_numbers_of_an_int8_model_are_hashed_from_memory(tmp_path: Path) -> None:
    model = tiny.model()
    to_int8(model)
    model.compression = {"prune": 0.0, "drop_layers": {}, "int8": True}
    predictor = released(tmp_path, {"retrieval": model})
    before = weights.hash_models(predictor.folder, predictor._keys())
    held: Any = predictor.models["retrieval"].get_submodule("encoders.text.blocks.0.feed.0")
    held.values[0, 0] += 1
    assert weights.hash_models(predictor.folder, predictor._keys()) != before


# Networks of transformers ---------------------------------------------------------------------------------------------


def released(root: Path, made: Mapping[str, MultimodalModel]) -> Predictor:
    """The release of these models by task, as packaging leaves it, loaded."""
    for task, model in made.items():
        (root / "tasks" / task).mkdir(parents=True)
        model.save(root / "tasks" / task)
    weights.store(root / "tasks", list(made), root / "release")
    write_json(root / "release" / "identity.json", {"tasks": list(made), "plugins": []})
    write_json(root / "release" / "serve.json", dataclasses.asdict(params.load(ROOT / "params.yaml").serve))
    return Predictor(root / "release")


def trained(modality: str, name: str, **options: Any) -> MultimodalModel:
    """A tiny model with such an encoder, its weights and saved statistics moved from where they began."""
    encoders = {**tiny.MODEL.encoders, modality: {"name": name, **OPTIONS[name], **options}}
    model = tiny.model(settings=dataclasses.replace(tiny.MODEL, encoders=encoders))
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
    return model


NETWORKS = [
    *(("text", "auto_text", {"config": {"model_type": kind, **config}}) for kind, config in READERS.items()),
    ("image", "clip_vision", {}),
    ("image", "resnet", {"norm": "group"}),
    ("image", "resnet", {"norm": "frozen"}),
]


@pytest.mark.parametrize(("modality", "name", "options"), NETWORKS)
def test_a_packaged_network_of_transformers_embeds_as_the_trained_one(
    modality: str, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    model = trained(modality, name, **options)
    predictor = released(tmp_path, {"retrieval": model})
    texts, pixels = ["a red square", "blue"], tiny.picture("red", "left")
    with torch.inference_mode():
        expected = model.embed("text", *model.processor.texts(texts)).numpy()
        seen = model.embed("image", torch.from_numpy(pixels)[None], torch.ones(1, dtype=torch.bool)).numpy()
    assert predictor.embed_texts(texts) == pytest.approx(expected, abs=1e-6)
    assert predictor.embed([Item("image", pixels)]) == pytest.approx(seen, abs=1e-6)


def test_models_with_a_network_of_transformers_are_over_the_packaged_tensors_themselves(tmp_path: Path) -> None:
    model = trained("image", "clip_vision")
    predictor = released(tmp_path, {"retrieval": model, "captioning": model})
    first, second = (predictor.models[task].state_dict() for task in ("retrieval", "captioning"))
    for name, tensor in first.items():
        assert tensor.data_ptr() == second[name].data_ptr() == predictor._weights["retrieval"][name].data_ptr()
