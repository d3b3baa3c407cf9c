"""The `mmcore` command. Every command imports what it needs when it is called, so that `--help` costs nothing."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import mmcore
from mmcore import owner
from mmcore.commands import data_words
from mmcore.workspace import Workspace


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. What a person can mend is told in a sentence, without a trace."""
    arguments = _parser().parse_args(words)
    try:
        return int(arguments.call(arguments) or 0)
    except KeyboardInterrupt:
        print("\nmmcore: stopped; `mmcore run` goes on from here", file=sys.stderr)
        return 130
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        if os.environ.get("MMCORE_TRACEBACK"):
            raise
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"mmcore: {message}", file=sys.stderr)
        return 1


# Runs -------------------------------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> int:
    from mmcore import params, prefect_server, project, stages
    from mmcore.console import Step, console
    from mmcore.ledger import check_git

    workspace = _here()
    presets = [params.preset(workspace.root, arguments.preset)] if arguments.preset else []
    difference = params.change(workspace.params, presets=presets, assignments=arguments.set)
    settings = params.load(workspace.params)
    check_git(workspace.root)
    console.print(f"[bold]mmcore[/] {settings.name} · {project.machine(settings)}")
    if difference:
        console.print(difference, markup=False, style="dim")
    server = prefect_server.start(workspace)
    # The server takes seconds to start: what has to be done before the first stage is done meanwhile.
    with Step("data", quiet=True) as line:
        line.note = project.ensure_data(workspace, settings)
        line.state = "unchanged" if line.note == "unchanged" else "done"
    project.check(workspace, settings)
    if not project.checked(workspace, settings).exists():
        with Step("check") as line:
            line.note = stages.rehearse(workspace, settings)
    server = prefect_server.wait(server, workspace)
    console.print(f"  Prefect {server.ui}", style="dim")
    environment = os.environ | prefect_server.environment(workspace, server.api) | {owner.VARIABLE: str(os.getpid())}
    flow = [sys.executable, "-m", "flows.retrain"]
    status = subprocess.run(flow, cwd=workspace.root, env=environment, check=False).returncode
    if status == 0:
        from mmcore.report.table import closing_table

        print(closing_table(workspace))
    return status


def _decide(arguments: argparse.Namespace) -> int:
    from mmcore.commands.run_decide import decide

    workspace = _here()
    run, said = decide(workspace, arguments.run, approved=arguments.approved, by=arguments.by, reason=arguments.reason)
    print(said)
    return _with_server(workspace, ["-m", "flows.asking", run])


def _compare(arguments: argparse.Namespace) -> None:
    from mmcore import params, releases
    from mmcore.evaluation.compare import print_comparison
    from mmcore.ledger import Ledger

    workspace = _here()
    name = params.load(workspace.params).name
    a, b = (releases.revision(workspace.root, name, words) for words in (arguments.a, arguments.b))
    print(print_comparison(Ledger(workspace.root), a, b))


def _export(arguments: argparse.Namespace) -> None:
    from mmcore.commands.run_export import export

    print(export(_here(), arguments.tool, arguments.to))


def _debug(arguments: argparse.Namespace) -> int:
    from mmcore import runs

    record = runs.find(_here(), arguments.run)
    folder = Path(record["workspace"])
    if not folder.is_dir():
        raise FileNotFoundError(f"the workspace of run {arguments.run} is gone; run it again and keep it: mmcore run")
    print(f"{folder}: python -m pdb -c continue -m mmcore stage {arguments.stage}")
    words = [sys.executable, "-m", "pdb", "-c", "continue", "-m", "mmcore", "stage", arguments.stage]
    return subprocess.run(words, cwd=folder, env=os.environ | {"MMCORE_TRACEBACK": "1"}, check=False).returncode


def _stage(arguments: argparse.Namespace) -> None:
    from mmcore import stages

    scores = (arguments.tasks, arguments.output)
    if any(scores) and not (all(scores) and arguments.name == "evaluate"):
        raise ValueError("--tasks and --output go together, and with evaluate: "
                         "mmcore stage evaluate --tasks FOLDER --output FOLDER")  # fmt: skip
    if arguments.rank:
        start = Path(arguments.init) if arguments.init else None
        stages.rank(_here().root, arguments.name, Path(arguments.rank), start)
    elif arguments.tasks:
        stages.score(_here().root, Path(arguments.tasks), Path(arguments.output))
    else:
        stages.run(_here().root, arguments.name)


def _plan(arguments: argparse.Namespace) -> None:
    if arguments.costs or arguments.preset or arguments.set:
        from mmcore.commands.plan_costs import plan_costs

        print(plan_costs(_here(), arguments.preset, arguments.set))
    else:
        from mmcore.commands.plan import plan

        print(plan(_here()))


def _check(arguments: argparse.Namespace) -> None:
    from mmcore import params, project, stages

    workspace = _here()
    settings = params.load(workspace.params)
    print(f"mmcore {settings.name} · {project.machine(settings)}")
    project.check(workspace, settings)
    print(stages.rehearse(workspace, settings))


def _stop(arguments: argparse.Namespace) -> None:
    from mmcore import prefect_server

    ended = prefect_server.stop(_here())
    print("the Prefect server has ended" if ended else "no Prefect server of this project is running")


def _init(arguments: argparse.Namespace) -> None:
    from mmcore.commands.init import write

    print(write(Path(arguments.path)))


# Data -------------------------------------------------------------------------------------------------------------


def _data(arguments: argparse.Namespace) -> None:
    print(data_words.run(_here(), arguments))


# Releases ---------------------------------------------------------------------------------------------------------


def _release(arguments: argparse.Namespace) -> None:
    from mmcore import params, releases

    workspace = _here()
    name = params.load(workspace.params).name
    if arguments.action == "list":
        first = releases.champion(workspace.root, name)
        for release in releases.releases(workspace.root, name):
            mark = "champion" if release == first else ""
            print(f"{name} {release.version:<9} {release.created:%Y-%m-%d %H:%M} {release.model_hash[:12]}  {mark}")
        if first is None:
            print(f"{name} has no champion yet; `mmcore run` makes the first release")
    elif arguments.action == "show":
        from mmcore.ledger import Ledger

        current = releases.champion(workspace.root, name)
        version = arguments.version or (current.version if current else "")
        release = releases.find(workspace.root, name, version)
        print(
            f"{name} {release.version}\ncommit {release.commit}\nmodel  {release.model_hash}\nmade   {release.created}"
        )
        print(Ledger(workspace.root).read(release.commit, "artifacts/evaluation/scores.json").strip())
    elif arguments.action == "promote":
        print(f"champion: {name} {releases.promote(workspace.root, name, arguments.version).version}")
    else:
        print(f"champion: {name} {releases.rollback(workspace.root, name).version}")


def _serve(arguments: argparse.Namespace) -> None:
    from mmcore import params
    from mmcore.commands.serve import serve

    workspace = _here()
    serve(workspace, params.load(workspace.params), arguments.port, arguments.version)


def _monitor(arguments: argparse.Namespace) -> int:
    return _with_server(_here(), ["-m", "flows.monitor", str(Path(arguments.batch).resolve())])


def _schedule(arguments: argparse.Namespace) -> int:
    return _with_server(_here(), ["-m", "flows.deployments"])


def _with_server(workspace: Workspace, words: list[str]) -> int:
    """Run Python with `words` against the project's Prefect server; returns its exit status."""
    from mmcore import prefect_server

    server = prefect_server.wait(prefect_server.start(workspace), workspace)
    environment = os.environ | prefect_server.environment(workspace, server.api) | {owner.VARIABLE: str(os.getpid())}
    return subprocess.run([sys.executable, *words], cwd=workspace.root, env=environment, check=False).returncode


def _report(arguments: argparse.Namespace) -> None:
    if arguments.follow:
        from mmcore.commands.report_follow import follow

        follow(_here(), show=arguments.open)
    else:
        from mmcore.plugins import load_settings
        from mmcore.report.build import build

        workspace = _here()
        load_settings(workspace)
        print(build(workspace))


def _here() -> Workspace:
    root = Path.cwd()
    if not (root / "params.yaml").is_file():
        raise FileNotFoundError(
            f"{root} is no mmcore project (no params.yaml); go to one, or make one: mmcore init PATH"
        )
    return Workspace(root)


# Words ------------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mmcore", description="MLOps for multimodal models.")
    parser.add_argument("--version", action="version", version=f"mmcore {mmcore.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = _command(commands, "run", _run, "bring everything up to date and release the model if it passes the gate")
    run.add_argument("--preset", help="rewrite params.yaml with the values of presets/NAME.yaml first")
    run.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one setting first")
    more = run.add_subparsers(metavar="")
    compare = _command(more, "compare", _compare, "parameters, data and scores of two runs or releases side by side")
    compare.add_argument("a")
    compare.add_argument("b")
    export = _command(more, "export", _export, "the last run's curves and scores for another tool: tensorboard, mlflow")
    export.add_argument("tool")
    export.add_argument("to", help="tensorboard: a folder; mlflow: a server's address, or sqlite:///FILE")
    for name, approved, text in (
        ("approve", True, "release the candidate of the run that waits for a person"),
        ("decline", False, "do not release it; the champion stays"),
    ):
        decide = _command(more, name, _decide, text)
        decide.add_argument("run", nargs="?", help="where several runs wait")
        decide.add_argument("--by", help="who decides; by default git's user.name")
        decide.add_argument("--reason", required=not approved, default="", help="in a sentence, for the record")
        decide.set_defaults(approved=approved)
    debug = _command(more, "debug", _debug, "open a stage of a run in the debugger, in the workspace it ran in")
    debug.add_argument("run")
    debug.add_argument("stage")

    stage = _command(commands, "stage", _stage, "run one stage here and now, whatever its state")
    stage.add_argument("name")
    stage.add_argument("--tasks", help="with evaluate: the models in this folder, not artifacts/tasks")
    stage.add_argument("--output", help="where their scores go")
    stage.add_argument("--rank", metavar="OUTPUT", help=argparse.SUPPRESS)
    stage.add_argument("--init", metavar="FOLDER", help=argparse.SUPPRESS)

    plan = _command(commands, "plan", _plan, "what a run would do, why, and for how long")
    plan.add_argument("--costs", action="store_true", help="what pretraining takes: size, operations, memory, time")
    plan.add_argument("--preset", help="the costs with the values of presets/NAME.yaml, which are not applied")
    plan.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="or with this setting")
    _command(commands, "check", _check, "whether settings, data and machine are fit for a run")

    data_words.add_words(_command(commands, "data", _data, "bring data in, look at them, keep and compare versions"))

    release = _command(commands, "release", _release, "the released models")
    actions = release.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="all versions, the newest first")
    actions.add_parser("show", help="one version, or the champion").add_argument("version", nargs="?")
    actions.add_parser("promote", help="make a version the champion").add_argument("version")
    actions.add_parser("rollback", help="make the champion before the present one the champion again")

    serve = _command(commands, "serve", _serve, "serve the champion on this machine")
    serve.add_argument("--port", type=int, help="instead of serve.port")
    serve.add_argument("--version", help="instead of the champion")
    monitor = _command(commands, "monitor", _monitor, "compare a batch with the drift reference")
    monitor.add_argument("batch", help="a Parquet file of the store's schema, or a folder of pictures")
    _command(commands, "schedule", _schedule, "register the nightly and the manual retrain and work through their runs")
    report = _command(commands, "report", _report, "write artifacts/report/index.html anew, or watch the run at work")
    report.add_argument("--follow", action="store_true", help="serve a page on this machine that shows the run at work")
    report.add_argument("--open", action="store_true", help="and open it in the browser")
    init = _command(commands, "init", _init, "write a project of your own")
    init.add_argument("path")
    _command(commands, "stop", _stop, "end the background Prefect server")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    call: object,
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(call=call)
    return parser
