"""`mmcore plan`: what a run would do, why, and for how long."""

from mmcore import params, stages
from mmcore.ledger import Ledger
from mmcore.workspace import Workspace, read_json, read_yaml


def plan(workspace: Workspace) -> str:
    """One line per stage: unchanged, or the dependencies and settings that changed, with the time it took before."""
    settings = params.load(workspace.params)
    stages.run(workspace.root, "code")
    names = stages.stage_names(settings)[1:]
    ledger = Ledger(workspace.root)
    took = _seconds(workspace)
    inputs = _inputs(workspace, names)
    running: set[str] = set()
    lines, total = [], 0.0
    for change in ledger.changes(names):
        after = [name for name in inputs[change.stage] if name in running]
        # What a stage before it leaves is going to change: that it has changed already says nothing new.
        own = [reason for reason in change.reasons if not (after and reason.startswith("artifacts/"))]
        reasons = own + [f"after {name}" for name in after]
        if not reasons:
            lines.append(f"  · {change.stage:<24} unchanged")
            continue
        running.add(change.stage)
        total += took.get(change.stage, 0.0)
        time = f"{took[change.stage]:6.0f} s" if change.stage in took else "       ?"
        lines.append(f"  → {change.stage:<24} {time}  {'; '.join(reasons)}")
    data = ledger.data_state()
    if data != "same":
        lines.insert(0, f"  → {'data':<24}         data/ is {data}")
    end = f"about {total:.0f} s, as they took before" if running else "nothing to do"
    return "\n".join([*lines, f"{len(running)} of {len(names)} stages would run: {end}"])


def _seconds(workspace: Workspace) -> dict[str, float]:
    path = workspace.artifacts / "run.json"
    return {step["name"]: step["seconds"] for step in read_json(path)["stages"]} if path.exists() else {}


def _inputs(workspace: Workspace, names: list[str]) -> dict[str, list[str]]:
    """The stages whose outputs each stage reads, as dvc.yaml declares them."""
    declared = read_yaml(workspace.root / "dvc.yaml")["stages"]
    inputs, outputs = {}, {}
    for name in names:
        base, _, item = name.partition("@")
        body = declared[base].get("do", declared[base])
        for out in body["outs"]:
            outputs[(out if isinstance(out, str) else next(iter(out))).replace("${item}", item)] = name
        inputs[name] = [path.replace("${item}", item) for path in body["deps"]]
    return {
        name: [maker for out, maker in outputs.items() for path in paths if out == path or out.startswith(f"{path}/")]
        for name, paths in inputs.items()
    }
