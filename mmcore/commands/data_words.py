"""The words of `mmcore data ...`. An action's code is `mmcore/commands/data_<action>.py` and imported when called."""

import argparse
import importlib

from mmcore.workspace import Workspace

FORMATS = (
    "audiofolder", "coco", "digitworld", "flickr8k", "huggingface", "imagefolder", "table", "videofolder", "vqa",
    "webdataset",
)  # fmt: skip
EXPORT_FORMATS = ("huggingface", "imagefolder", "webdataset")


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """Do what the words say; returns the lines to print."""
    action = importlib.import_module(f"mmcore.commands.data_{arguments.data_action}")
    return str(action.run(workspace, arguments))


def add_words(parser: argparse.ArgumentParser) -> None:
    """Declare every action of `mmcore data` on `parser`."""
    actions = parser.add_subparsers(dest="data_action", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text)

    _import_words(action("import", "read a data set into data/ and record it in data.dvc"))
    export = action("export", "write data/ in a format that others read")
    export.add_argument("destination", help="a folder that does not exist yet")
    export.add_argument("--format", required=True, choices=EXPORT_FORMATS)
    export.add_argument("--split", action="append", choices=("train", "validation", "test"), help="only this split")

    ingest = action("ingest", "append the new rows of data.source to data/")
    ingest.add_argument("--dry-run", action="store_true", help="count them and change nothing")

    push = action("push", "send data/ to the remote and compare what lies there with the manifest")
    push.add_argument("--verify", action="store_true", help="read back and hash every object; replace the wrong ones")
    pull = action("pull", "fetch data/ from the remote and compare it with the manifest")
    status = action("status", "where data/, data.dvc, the cache and the remote agree and where they do not")
    for known in (push, pull, status):
        known.add_argument("--remote", metavar="NAME", help="a DVC remote by its name, instead of the default one")
    verify = action("verify", "compare data/, or what lies on the remote, with the manifest, file by file")
    verify.add_argument(
        "--remote", metavar="NAME", nargs="?", const="", help="read the remote NAME, or the default one, to its end"
    )

    diff = action("diff", "rows added, removed and changed between two versions of the data")
    diff.add_argument("a", help="a commit, tag, run or release")
    diff.add_argument("b", nargs="?", help="another one; without it data/ as it lies here")
    freeze = action("freeze", "fix the test split, so that scores stay comparable while the data grow")
    freeze.add_argument("--thaw", action="store_true", help="let new rows into the test split again")

    quarantine = action("quarantine", "look at the rows that validation kept aside, and decide on them")
    doings = quarantine.add_subparsers(dest="doing", metavar="ACTION", required=True)
    listing = doings.add_parser("list", help="the rows, or those with one problem")
    listing.add_argument("--problem", help="a problem code")
    listing.add_argument("--verdict", choices=("repaired", "flag", "reject"))
    doings.add_parser("show", help="one row with its picture and every reason").add_argument("id")
    for name, text in (("release", "use these rows all the same"), ("drop", "never use these rows")):
        doing = doings.add_parser(name, help=text)
        doing.add_argument("id", nargs="+")
        doing.add_argument("--reason", default="", help="why, for those who read it later")

    review = action("review", "score every pair with the trained model; the least fitting ones come first")
    review.add_argument("--split", action="append", choices=("train", "validation", "test"), help="only this split")
    review.add_argument("--limit", type=int, default=200, help="how many pairs the page shows")

    requests = action("requests", "look at the requests that the service was unsure of, and say what is right")
    doings = requests.add_subparsers(dest="doing", metavar="ACTION", required=True)
    doings.add_parser("list", help="those that are kept, the least sure first")
    doings.add_parser("show", help="one of them: what was sent, and every class").add_argument("id")
    accept = doings.add_parser("accept", help="make them rows of data/ to train on, with what was answered")
    accept.add_argument("id", nargs="+")
    accept.add_argument("--answer", help="what is right, in the place of what was answered")
    accept.add_argument("--new-class", action="store_true", help="the answer is a class that the model does not know")
    doings.add_parser("reject", help="remove them").add_argument("id", nargs="+")


def _import_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="a folder or file; with huggingface also a data set's name on the hub")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--name", help="the project's name: releases carry it")
    parser.add_argument("--replace", action="store_true", help="put the new data in the place of data/")
    parser.add_argument("--append", action="store_true", help="add the rows to data/")
    parser.add_argument("--only-new", action="store_true", help="with --append: pass over the rows that are there")
    parser.add_argument("--dry-run", action="store_true", help="show what would be read and change nothing")
    parser.add_argument("--resume", action="store_true", help="go on with an import that was interrupted")
    parser.add_argument(
        "--retry-failed", action="store_true", help="add rows that were refused; fields as last time unless given"
    )
    parser.add_argument(
        "--map", action="append", default=[], metavar="COLUMN=FIELD",
        help="take COLUMN from FIELD; more than once for captions, labels and qa from several fields",
    )  # fmt: skip
    parser.add_argument(
        "--lang", action="append", default=[], metavar="[FIELD=]CODE",
        help="language of the captions as an ISO 639-1 code, of all or of those from FIELD; else their script tells",
    )  # fmt: skip
    parser.add_argument("--lang-field", help="the field that holds each text's language")
    parser.add_argument("--group", help="the field that ties rows together")
    parser.add_argument("--positives", help="the field whose equal values match one another")
    parser.add_argument("--limit", type=int, help="rows per split")
