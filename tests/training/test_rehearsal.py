import dataclasses
from pathlib import Path

import pytest

from mmcore.data import digitworld
from mmcore.params import load
from mmcore.settings import CompressSettings, TrainSettings
from mmcore.training.rehearsal import rehearse
from tests.conftest import ROOT
from tests.tiny import EVERY_OBJECTIVE


@pytest.mark.parametrize(("engine", "said"), [("spark", "choose one of: local, ray"), ("ray", "data.engine is ray, ")])
def test_an_engine_that_cannot_be_used_is_named_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, said: str
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    settings = load(ROOT / "params.yaml")
    with pytest.raises(ValueError, match=said):
        rehearse(tmp_path, dataclasses.replace(settings, data=dataclasses.replace(settings.data, engine=engine)))


def test_tasks_without_rows_are_told_beforehand_and_none_with_rows_is_an_error(tmp_path: Path) -> None:
    digitworld.generate(tmp_path, scenes=(8, 4, 4), clips=(0, 0, 0), sentiments=(8, 4, 4), faults=(0, 0, 0))
    settings = load(ROOT / "params.yaml")
    assert rehearse(tmp_path, settings).endswith("; skipped: summarisation (no summary and video)")
    with pytest.raises(ValueError, match=r"rows for none of the tasks: summarisation \(no summary and video\)"):
        rehearse(tmp_path, dataclasses.replace(settings, tasks=["summarisation"]))


def test_a_medium_with_rows_and_without_an_encoder_is_told_before_any_work(tmp_path: Path) -> None:
    digitworld.generate(tmp_path, scenes=(8, 4, 4), clips=(0, 0, 0), sentiments=(8, 4, 4), faults=(0, 0, 0))
    settings = load(ROOT / "params.yaml")
    encoders = {name: spec for name, spec in settings.model.encoders.items() if name != "audio"}
    deaf = dataclasses.replace(settings, model=dataclasses.replace(settings.model, encoders=encoders))
    with pytest.raises(ValueError, match="contrast_audio_text needs an encoder for audio, and the model has text, "):
        rehearse(tmp_path, deaf)
    # Without clips nothing needs an encoder for them.
    del encoders["video"]
    encoders["audio"] = settings.model.encoders["audio"]
    rehearse(tmp_path, dataclasses.replace(deaf, model=dataclasses.replace(settings.model, encoders=encoders)))


def test_what_would_fail_after_hours_is_told_before(tmp_path: Path) -> None:
    digitworld.generate(tmp_path, scenes=(8, 4, 4), clips=(4, 2, 2), sentiments=(8, 4, 4), faults=(0, 0, 0))
    settings = load(ROOT / "params.yaml")

    def said(section: str, train: TrainSettings = settings.train, **changes: object) -> str:
        own = dataclasses.replace(settings.finetune[section], **changes)  # type: ignore[arg-type]
        encoders = {name: spec for name, spec in settings.model.encoders.items() if name != "audio"}
        made = dataclasses.replace(
            settings, tasks=[section], finetune={section: own}, train=train,
            model=dataclasses.replace(settings.model, encoders=encoders),
            pretrain=dataclasses.replace(settings.pretrain, objectives=settings.pretrain.objectives[:1]),
        )  # fmt: skip
        with pytest.raises((ValueError, LookupError), match=r"\w") as told:
            rehearse(tmp_path, made)
        return str(told.value)

    contrast = settings.pretrain.objectives[0]
    task = settings.finetune["retrieval"].task
    deaf = {**task, "contrasts": task["contrasts"][:1], "rerank": None}
    assert "retrieval needs an encoder for audio" in said("retrieval", task=deaf)
    assert "which the task trains itself" in said("retrieval", beside=[contrast])
    guess = {**EVERY_OBJECTIVE["pseudo_labels"], "inputs": ["image"], "label": "mood"}
    assert "guesses the label 'mood', which nothing teaches" in said("captioning", beside=[guess])
    assert "captioning, beside it needs an encoder for audio" in said(
        "captioning", beside=[{**contrast, "among": ["audio", "text"]}]
    )
    assert "finetune.captioning.init is 'foo'; choose pretrained or scratch" in said("captioning", init="foo")
    fewer = CompressSettings(prune=0.0, drop_layers={"text": 2}, int8=False)
    assert "finetune.captioning.compress.drop_layers takes 2 of 2 layers of text" in said("captioning", compress=fewer)
    steps = dataclasses.replace(settings.finetune["anomalies"].optim, steps=5)
    assert "set finetune.anomalies.optim.steps to 0" in said("anomalies", optim=steps)
    smelling = {"name": "bottleneck", "size": 8, "among": ["text", "smell"]}
    assert "bottleneck is among 'smell'" in said("captioning", adapter=smelling)
    assert "finetune.captioning.members is 2: trainings are" in said("captioning", init="scratch", members=2)
    own = settings.finetune["sentiment"].task
    assert "finetune.sentiment: no head named 'votez'" in said("sentiment", task={**own, "head": {"name": "votez"}})
    bare = {"name": "classes", "fusion": {"name": "cross_attention"}}
    assert "finetune.sentiment: fusion 'cross_attention' needs the option 'layers'" in said(
        "sentiment", task={**own, "head": bare}
    )
    assert "has the label 'sentimint'; there are: sentiment" in said("sentiment", task={**own, "label": "sentimint"})
    assert "sentiment looks at 'imag', which no row can have; did you mean 'image'?" in said(
        "sentiment", task={**own, "inputs": ["imag", "transcript"]}
    )
    rerank = {"name": "matching", "of": ["image"], "places": 10}
    alone = {**task, "contrasts": [{**contrast, "among": ["image", "text"]}], "also": [], "rerank": rerank}
    assert "finetune.retrieval: retrieval re-ranks by matching, and the model has no head for image" in said(
        "retrieval", task=alone
    )
    shared = dataclasses.replace(settings.train, devices=2, shard=True)
    pruned = CompressSettings(prune=0.5, drop_layers={}, int8=False)
    assert "finetune.captioning.compress.prune needs all weights on every device" in said(
        "captioning", train=shared, compress=pruned
    )


def test_a_pretraining_guesses_no_label(tmp_path: Path) -> None:
    settings = load(ROOT / "params.yaml")
    objectives = [*settings.pretrain.objectives, EVERY_OBJECTIVE["pseudo_labels"]]
    with pytest.raises(ValueError, match="guesses the label 'place', which nothing teaches; put it beside the task"):
        rehearse(
            tmp_path,
            dataclasses.replace(settings, pretrain=dataclasses.replace(settings.pretrain, objectives=objectives)),
        )
