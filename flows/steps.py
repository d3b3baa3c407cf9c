"""The tasks of the flows: one that brings a stage up to date, and the steps around the graph."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.workspaces import leave_branch
from mmcore import owner, project, releases
from mmcore.console import Follower, Step, Tail
from mmcore.data import frozen
from mmcore.data.ingest import ingest as take_in
from mmcore.evaluation import gate as gates
from mmcore.ledger import Ledger
from mmcore.report.build import build
from mmcore.runs import Run
from mmcore.serving.package import code_hash
from mmcore.serving.package import package as build_bento
from mmcore.serving.smoke_test import smoke_test as ask_bento
from mmcore.stages import mark_done, stage_names
from mmcore.workspace import hash_file, hash_folder, read_json, trained, why_skipped

LAST_LINES = 30
P = ParamSpec("P")
R = TypeVar("R")


@contextlib.contextmanager
def step(run: Run, name: str, **options: Any) -> Iterator[Step]:
    """A step of the run: a line on the terminal, its place in run.json while it works and when it ends or fails."""
    line = Step(name, **options)
    run.begin(name)
    reason = ""
    try:
        with line:
            yield line
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise
    finally:
        run.note(name, line.seconds, line.state, reason)


def named(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A Prefect task under the name that people know. Its results are files, so nothing is cached or pickled."""
    return task(name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)


@named("data")
def data(run: Run) -> None:
    with step(run, "data", quiet=True) as line:
        line.note = project.ensure_data(run.workspace, run.settings)
        line.state = "unchanged" if line.note == "unchanged" else "done"
        frozen.check(run.workspace.data)


@named("ingest")
def ingest(run: Run, *, propose: bool) -> None:
    """Append the new rows of `data.source`. With `propose`, data.dvc goes to a branch for a person to merge."""
    work, ledger = run.workspace, Ledger(run.workspace.root)
    progress = work.logs("ingest") / "progress.jsonl"
    progress.parent.mkdir(parents=True, exist_ok=True)
    progress.unlink(missing_ok=True)
    os.environ["MMCORE_PROGRESS"] = str(progress)
    with step(run, "ingest", progress=progress) as line, Follower(line.follow):
        before = ledger.data_hash()
        found = take_in(work, run.settings)
        line.note = found.describe()
        if found.changed:
            ledger.add_data()
        if ledger.data_hash() == before:
            line.state = "unchanged" if not found.waiting else "done"
            return
        if propose:
            branch = leave_branch(work.root, run.name, f"Take in {line.note} from {found.source}")
            line.note += f"; for you to merge: {branch}"
    create_markdown_artifact(f"# New rows\n{line.note}\n", key="ingest", description=run.name)


@named("plan")
def nothing_new(run: Run) -> bool:
    """Whether all that the stages would read is what they read in the last finished run."""
    with step(run, "plan", quiet=True) as line:
        _child(run, "code", ["stage", "code"])
        news = run.news([name for name in stage_names(run.settings) if name != "code"])
        for change in news:
            get_run_logger().info("%s: %s", change.stage, "; ".join(change.reasons))
        line.note = "; ".join(f"{change.stage}: {change.reasons[0]}" for change in news[:3])
    return not news


@named("check")
def check(run: Run) -> None:
    with step(run, "check", quiet=True) as line:
        project.check(run.workspace, run.settings)
        if project.checked(run.workspace, run.settings).exists():
            line.state = "unchanged"
        else:
            _child(run, "check", ["check"])


def reproduce(run: Run, stage: str) -> None:
    """Bring `stage` up to date, as the Prefect task of that name."""
    named(stage)(_reproduce)(run, stage)


def _reproduce(run: Run, stage: str) -> None:
    logger = get_run_logger()
    logs = run.workspace.logs(stage)
    log = run.folder / f"{stage}.log"
    os.environ |= {"MMCORE_STAGE_LOG": str(log), "MMCORE_PROGRESS": str(logs / "progress.jsonl")}
    output = Tail(log)
    before = hash_folder(run.workspace.artifacts / "code")
    with step(run, stage, progress=logs / "progress.jsonl", on_progress=logger.info) as line:

        def look() -> None:
            for text in output.lines():
                logger.info(text)
            line.follow()

        with Follower(look):
            try:
                acted = Ledger(run.workspace.root).reproduce(stage)
            except RuntimeError as error:
                raise RuntimeError(_last_words(run, stage, log, str(error))) from None
        if stage == "code":
            acted = before != hash_folder(run.workspace.artifacts / "code")
        mark_done(run.workspace, stage)
        line.state = "done" if acted else "unchanged"
        if acted and not log.exists():
            line.note = "restored from the cache"
        if stage.startswith("finetune@") and (why := why_skipped(run.workspace.tasks / stage.partition("@")[2])):
            line.note = f"skipped: {why}"
    run.changed = run.changed or (acted and stage != "code")


def _last_words(run: Run, stage: str, log: Path, error: str) -> str:
    reason = error
    with contextlib.suppress(FileNotFoundError, ValueError):
        status = read_json(run.workspace.logs(stage) / "status.json")
        reason = status["reason"] if status["state"] != "done" else error
    lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:] if log.exists() else []
    return "\n".join(
        [
            f"{stage} failed: {reason}",
            *(f"    {line}" for line in lines),
            f"To open it: mmcore run debug {run.name} {stage}",
        ]
    )


@named("gate")
def gate(run: Run) -> str:
    """Judge the candidate against the champion on the same test split; returns the verdict."""
    work, settings = run.workspace, run.settings
    with step(run, "gate") as line:
        candidate = gates.model_hash(work.tasks, settings.tasks)
        champion = releases.champion(work.root, settings.name)
        same = champion is not None and champion.model_hash == candidate
        scores = None if champion is None or same else _champion_scores(run, champion)
        verdict = gates.judge(
            read_json(work.evaluation / "metrics.json"),
            scores,
            settings.gate,
            same_model=same,
            candidate=candidate,
            champion=champion.version if champion else None,
        )
        gates.write(verdict, work.verdict)
        line.note = verdict.verdict
    if run.changed:
        _publish(run)
    return verdict.verdict


def _champion_scores(run: Run, champion: releases.Release) -> dict[str, Any]:
    """The champion's metrics on this run's test split; asked once for every (model, split, settings)."""
    work = run.workspace
    split = hash_file(work.validated / "lineage.json")[:16]
    how = hash_file(work.evaluation / "lineage.json")[:16]
    folder = work.state / "champions" / f"{champion.model_hash[:16]}-{split}-{how}"
    if not (folder / "metrics.json").exists():
        tasks = work.state / "champions" / champion.model_hash[:16]
        if not tasks.exists():
            Ledger(work.root).fetch(champion.commit, "artifacts/tasks", tasks)
        _child(run, "gate", ["stage", "evaluate", "--tasks", str(tasks), "--output", str(folder)])
    return dict(read_json(folder / "metrics.json"))


@named("package")
def package(run: Run) -> str:
    """Build the Bento of the candidate; returns its tag."""
    work, settings = run.workspace, run.settings
    with step(run, "package") as line:
        model = gates.model_hash(work.tasks, settings.tasks)
        line.note = tag = build_bento(
            work.tasks,
            trained(work.tasks, settings.tasks),
            name=settings.name,
            version=model[:12],
            model_hash=model,
            bentofile=work.root / "bentofile.yaml",
            requirements=work.root / "requirements",
            store=work.state / "bentoml",
            serve=settings.serve,
            plugins=settings.plugins,
        )
    return tag


@named("smoke_test")
def smoke_test(run: Run, tag: str) -> None:
    """Start the Bento elsewhere and ask it the golden requests; a RuntimeError names the first wrong answer."""
    work = run.workspace
    with step(run, "smoke_test") as line:
        result = ask_bento(
            tag,
            store=work.state / "bentoml",
            golden=work.reference / "golden",
            expected_model_hash=gates.model_hash(work.tasks, run.settings.tasks),
            expected_code_hash=code_hash(run.settings.plugins),
            logs=run.folder,
        )
        if not result.passed:
            raise RuntimeError(f"the packaged Bento {tag} fails its smoke test: {result.problem}; it is not released")
        line.note = result.summary


@named("save")
def save(run: Run, verdict: str) -> str:
    """Record the run, a rejected one too, as a DVC experiment; returns its commit."""
    with step(run, "save") as line:
        decision = gates.read(run.workspace.verdict).decision
        said = f". {decision.describe()}" if decision else ""
        commit = Ledger(run.workspace.root).save(run.name, f"{run.settings.name}: {verdict}{said}")
        line.note = run.name
    return commit


@named("release")
def release(run: Run, commit: str) -> str:
    """Tag the experiment as a version and make it the champion; returns the version."""
    work, settings = run.workspace, run.settings
    with step(run, "release") as line:
        model = gates.model_hash(work.tasks, settings.tasks)
        made = releases.register(work.root, settings.name, commit, model)
        releases.promote(work.root, settings.name, made.version)
        run.release = made.version
        line.note = f"{settings.name} {made.version}"
    return made.version


@named("report")
def report(run: Run) -> None:
    with step(run, "report") as line:
        run.write()
        page = build(run.workspace)
        line.note = str(page.relative_to(run.workspace.root))
    if run.changed:
        create_link_artifact(link=page.as_uri(), link_text=f"Report of {run.name}", key="report")


def _child(run: Run, name: str, words: list[str]) -> None:
    """Run `mmcore WORDS` in its own process: what it loads is freed, what it prints goes to the run's log."""
    log = run.folder / f"{name}.log"
    with open(log, "ab") as file:
        done = subprocess.run(
            [sys.executable, "-m", "mmcore", *words], cwd=run.workspace.root, stdout=file, stderr=file, check=False
        )
    if done.returncode:
        lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        raise RuntimeError("\n".join([f"{name} failed:", *(line.removeprefix("mmcore: ") for line in lines)]))


def _publish(run: Run) -> None:
    """Show the scores and the verdict in the Prefect UI."""
    verdict = read_json(run.workspace.verdict)
    metrics = read_json(run.workspace.evaluation / "metrics.json")
    rows = [
        {"task": name, "metric": metric, "value": score["value"], "baseline": score["baseline"], "n": score["n"]}
        for name, scores in metrics.items()
        for metric, score in scores.items()
    ]
    create_table_artifact(table=rows, key="metrics", description=f"Scores of {run.name} on the test split")
    reasons = "\n".join(f"- {reason}" for reason in verdict["reasons"])
    create_markdown_artifact(f"# {verdict['verdict']}\n{reasons}\n", key="verdict", description=run.name)


def quietly(flow: Callable[[], object]) -> int:
    """Run a flow as a person's command: what went wrong in a sentence, not twice as a trace; the exit status.

    It ends with the command that started it, killed or not: a second one must not find the first still at work.
    """
    if owner.VARIABLE in os.environ:
        owner.end_with(int(os.environ[owner.VARIABLE]))
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        try:
            flow()
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            print(f"mmcore: {error}", file=sys.stderr)
            return 1
    return 0
