"""The retrain flow: data in, a released Bento out.

By hand: `mmcore run`. On a schedule: `mmcore schedule`, which registers it nightly and for the form in the UI.
"""

from prefect import State, flow
from prefect.runtime import deployment
from prefect.states import Completed

from flows import asking, steps
from flows.workspaces import fresh_workspace, here
from mmcore.data.ingest import is_fed
from mmcore.runs import FAILED, FINISHED, NOTHING_NEW, RUNNING, UNANSWERED, Run
from mmcore.stages import stage_names


@flow(name="retrain", validate_parameters=True)
def retrain(preset: str | None = None, settings: list[str] | None = None) -> str | State[str]:
    """Bring everything up to date and release the model if it passes the gate; returns the verdict.

    `preset`: a file of presets/ by its name. `settings`: changes as `section.key=value`.
    A run that a deployment starts works in a fresh workspace, and ends in the state `Nothing new` where all that it
    would read is what the last finished run read; one started by hand works where it stands and goes to the end.
    """
    place = fresh_workspace(preset, settings or []) if deployment.id else here(preset, settings or [])
    with place as workspace:
        run = Run(workspace)
        try:
            steps.data(run)
            if is_fed(run.settings.data):
                steps.ingest(run, propose=bool(deployment.id))
            if deployment.id and steps.nothing_new(run):
                run.end(NOTHING_NEW)
                return Completed(name="Nothing new", message="data, code and settings are as in the last finished run")
            verdict = _bring_up_to_date(run)
            run.end(UNANSWERED if verdict == "unanswered" else FINISHED)
            return verdict
        finally:
            if run.state != NOTHING_NEW:
                run.state = FAILED if run.state == RUNNING else run.state
                steps.report(run)  # of a run that failed, too


def _bring_up_to_date(run: Run) -> str:
    steps.check(run)
    for stage in stage_names(run.settings):
        steps.reproduce(run, stage)
    verdict: str = steps.gate(run)
    if verdict == "promote":
        steps.smoke_test(run, steps.package(run))
        if run.settings.gate.ask:
            verdict = asking.ask(run)
    if run.changed or verdict == "promote":
        commit = steps.save(run, verdict)
        if verdict == "promote":
            steps.release(run, commit)
    return verdict


if __name__ == "__main__":
    raise SystemExit(steps.quietly(retrain))
