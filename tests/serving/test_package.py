import dataclasses
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mmcore.serving import package as packages
from mmcore.workspace import hash_folder, read_json, write_json
from tests.conftest import ROOT
from tests.models.test_encoders import OPTIONS
from tests.serving.conftest import World, pack
from tests.tiny import MODEL, model

REQUIREMENTS = ROOT / "requirements" / "bento.txt"
# What is installed with it for some models.
BESIDE = [[], ["bento-transformers.txt"]]


def pins(*more: str) -> dict[str, str]:
    texts = [REQUIREMENTS.read_text(), *(REQUIREMENTS.with_name(name).read_text() for name in more)]
    lines = [line.split("#")[0].strip() for text in texts for line in text.splitlines()]
    return dict(line.split("==") for line in lines if line)


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("more", BESIDE)
def test_the_pins_are_the_versions_that_are_tested(more: list[str]) -> None:
    for name, pinned in pins(*more).items():
        assert version(name).partition("+")[0] == pinned, name


@pytest.mark.parametrize("more", BESIDE)
def test_the_pins_are_closed_so_that_nothing_is_resolved_afresh(more: list[str]) -> None:
    pinned = {plain(name) for name in pins(*more)}
    for name in pins(*more):
        for line in requires(name) or []:
            requirement = Requirement(line)
            # The CUDA parts of torch's wheel are pinned by torch itself.
            if "nvidia" in requirement.name or requirement.name in ("triton", "cuda-toolkit", "cuda-bindings"):
                continue
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert plain(requirement.name) in pinned, f"{name} needs {requirement.name}"


@pytest.mark.parametrize("encoder", ["conv_vit", "clip_vision"])
def test_only_a_model_with_a_network_of_transformers_asks_for_them(encoder: str, tmp_path: Path) -> None:
    spec = {"name": encoder, **OPTIONS[encoder]}
    (tmp_path / "retrieval").mkdir()
    settings = dataclasses.replace(MODEL, encoders={**MODEL.encoders, "image": spec})
    model(settings=settings).save(tmp_path / "retrieval")
    found = packages._pins(REQUIREMENTS.parent, tmp_path, ["retrieval"])
    assert ("transformers==" in found) == (encoder == "clip_vision")
    assert REQUIREMENTS.read_text() in found


def test_the_code_of_a_bento_is_what_serving_imports_and_no_more() -> None:
    names = {name.removeprefix("mmcore/") for name in packages._code([])}
    assert {"serving/bento.py", "serving/predictor.py", "serving/page/index.html", "data/modalities/image.py"} <= names
    assert {"models/multimodal.py", "models/encoders/conv_vit.py"} <= names
    foreign = ("training", "quality", "evaluation", "report", "tasks", "metrics", "ledger", "data/store", "stages")
    assert not [name for name in names if name.startswith(foreign)]
    assert not {"serving/package.py", "serving/smoke_test.py", "serving/golden.py"} & names


@pytest.mark.bento
def test_the_bento_holds_code_models_pins_and_its_own_hashes(world: World) -> None:
    bento = packages.bento_path(world.store, world.tag)
    identity = read_json(world.release / "identity.json")
    assert identity["model_hash"] == world.model_hash
    assert identity["code_hash"] == packages.code_hash()
    assert set(identity["files"]) < {path.relative_to(bento / "src").as_posix() for path in bento.rglob("src/**/*")}
    assert set(REQUIREMENTS.read_text().splitlines()) <= set(
        (bento / "env" / "python" / "requirements.txt").read_text().splitlines()
    )
    assert str(ROOT).encode() not in b"".join(path.read_bytes() for path in bento.rglob("*") if path.is_file())


@pytest.mark.bento
def test_the_store_holds_the_bento_and_nothing_half_made(world: World) -> None:
    assert not list(world.store.glob(".*"))
    assert [path.name for path in (world.store / "bentos").iterdir()] == ["tiny"]


@pytest.mark.bento
def test_packaging_again_changes_nothing(world: World) -> None:
    bento = packages.bento_path(world.store, world.tag)
    before, made = hash_folder(bento), (bento / "bento.yaml").stat().st_mtime_ns
    assert pack(world.root, world.tasks, world.settings, world.model_hash) == world.tag
    assert (hash_folder(bento), (bento / "bento.yaml").stat().st_mtime_ns) == (before, made)


@pytest.mark.bento
def test_equal_content_under_another_version_has_an_equal_content_hash(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.tasks, tmp_path / "tasks")
    other = dataclasses.replace(world, root=tmp_path)
    tag = pack(tmp_path, tmp_path / "tasks", world.settings, "0" * 64)
    release = packages.bento_path(other.store, tag) / "src" / "release"
    first, second = (read_json(folder / "identity.json") for folder in (world.release, release))
    assert (first["content_hash"], first["files"]) == (second["content_hash"], second["files"])


@pytest.mark.bento
def test_a_bento_with_a_flipped_byte_is_built_anew_and_what_a_killed_build_left_goes(
    world: World, tmp_path: Path
) -> None:
    shutil.copytree(world.store, tmp_path / "bentos")
    (tmp_path / "bentos" / ".build-killed").mkdir()
    tensors = packages.bento_path(tmp_path / "bentos", world.tag) / "src" / "release" / "tensors.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    pack(tmp_path, world.tasks, world.settings, world.model_hash)
    content[-1] ^= 1
    assert tensors.read_bytes() == bytes(content)
    assert not list((tmp_path / "bentos").glob(".*"))


@pytest.mark.bento
def test_a_bento_is_made_of_an_installed_package_too(world: World, tmp_path: Path) -> None:
    """As from a wheel: mmcore lies in a folder of libraries, and there is no checkout beside it."""
    shutil.copytree(ROOT / "mmcore", tmp_path / "lib" / "mmcore", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("bentofile.yaml", "requirements/bento.txt", "params.yaml"):
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "project" / name)
    code = f"""
from pathlib import Path
from mmcore import params
from mmcore.serving.package import package
import mmcore
assert Path(mmcore.__file__).is_relative_to({str(tmp_path)!r})
print(package(Path({str(world.tasks)!r}), ["captioning"], name="tiny", version="wheel", model_hash="h",
    bentofile=Path("bentofile.yaml"), requirements=Path("requirements"), store=Path(".mmcore/bentoml"),
    serve=params.load(Path("params.yaml")).serve))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "project", env={**os.environ, "PYTHONPATH": str(tmp_path / "lib")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "tiny:wheel\n", done.stderr
    identity = read_json(tmp_path / "project/.mmcore/bentoml/bentos/tiny/wheel/src/release/identity.json")
    assert identity["tasks"] == ["captioning"]
    assert identity["code_hash"] == packages.code_hash()


PLUGIN = """
from mmcore.models.encoders import ENCODERS
from mmcore.models.encoders.conv_vit import Encoder

ENCODERS.add("my_encoder")(Encoder)
"""


@pytest.mark.bento
def test_a_plugin_of_ones_own_is_packed_and_loaded(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    shutil.copytree(world.tasks / "captioning", tmp_path / "tasks" / "captioning")
    config = tmp_path / "tasks" / "captioning" / "config.json"
    content = read_json(config)
    content["model"]["encoders"]["image"]["name"] = "my_encoder"
    write_json(config, content)
    tag = packages.package(
        tmp_path / "tasks", ["captioning"], name="tiny", version="plugin", model_hash="h", plugins=["my_plugin"],
        bentofile=ROOT / "bentofile.yaml", requirements=REQUIREMENTS.parent, store=tmp_path / "store",
        serve=world.settings.serve,
    )  # fmt: skip
    source = packages.bento_path(tmp_path / "store", tag) / "src"
    code = (
        "from pathlib import Path; from mmcore.serving.predictor import Predictor\n"
        "found = Predictor(Path('release')).identity(); print(found['code_hash'], found['mmcore'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [packages.code_hash(["my_plugin"]), "mmcore"], done.stderr


def test_a_plugin_that_cannot_be_found_is_named() -> None:
    with pytest.raises(LookupError, match="the plugin 'no_such_plugin' cannot be found"):
        packages.code_hash(["no_such_plugin.fusion"])
