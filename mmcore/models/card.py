"""The card of a model folder: what it is and how it came to be, for whoever finds the folder somewhere."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from mmcore.workspace import read_json

CARD = """\
---
library_name: mmcore
---
# {title}

{purpose}

| | |
|---|---|
| modalities | {modalities} |
| parameters | {parameters:.2f} M{zero} |
| weights | {megabytes:.2f} MB{held} |
| steps | {steps} |
| validation | {validation} |
| data | `{data}` |

`lineage.json` holds the hashes of the code and the inputs and all settings that shaped the weights. Scores on the
test split, beside their baselines, stand in the evaluation of the run, not here: they belong to model and data.

```python
from pathlib import Path
from mmcore.models.multimodal import MultimodalModel

model = MultimodalModel.load(Path("."))
```
"""


def card(folder: Path, name: str, stage: str, lineage: Mapping[str, Any]) -> str:
    """Markdown for the model in `folder` that the stage `stage` of the project `name` left."""
    config, training = read_json(folder / "config.json"), read_json(folder / "training.json")
    task = stage.partition("@")[2]
    purpose = (
        f"Fine-tuned for {task} from the project's pretrained model."
        if task
        else "Pretrained; the start of the project's task models, not meant to be used by itself."
    )
    made: dict[str, Any] = config.get("compression") or {}
    weights = folder / "model.safetensors"
    with safe_open(weights, framework="np") as file:
        shapes = [file.get_slice(key).get_shape() for key in file.keys() if not key.endswith(".scales")]  # noqa: SIM118
    return CARD.format(
        title=f"{name} · {task or 'pretrained'}",
        purpose=purpose,
        modalities=", ".join(config["model"]["encoders"]),
        parameters=sum(map(math.prod, shapes)) / 1e6,
        zero=f", a share of {made['prune']:g} of the layers' weights is zero" if made.get("prune") else "",
        megabytes=weights.stat().st_size / 1e6,
        held=", in int8" if made.get("int8") else "",
        steps=training["steps"],
        validation=", ".join(f"{key} {value:.4g}" for key, value in training["validation"].items()),
        data=next(value for key, value in lineage["inputs"].items() if key.startswith("artifacts/prepared"))[:16],
    )
