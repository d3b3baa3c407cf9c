"""What a person sees while a run goes on: one line per step, alive on a terminal, plain elsewhere."""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

# Bound at import: DVC's own output is redirected while a stage runs, ours is not.
console = Console(file=sys.stdout, highlight=False, soft_wrap=True)

MARKS = {"done": ("✓", "green"), "unchanged": ("·", "dim"), "failed": ("✗", "red"), "interrupted": ("‖", "yellow")}


class Step:
    """One line: a name, what it is doing, how long it took. Ends as done unless told otherwise or left by an error."""

    def __init__(
        self,
        name: str,
        *,
        progress: Path | None = None,
        on_progress: Callable[[str], None] | None = None,
        quiet: bool = False,
    ) -> None:
        """`progress`: the file its stage reports into; `on_progress` hears of each phase that is complete.

        A `quiet` step is not shown if it was unchanged.
        """
        self.name = name
        self.state = "done"
        self._quiet = quiet
        self.note = ""
        self.seconds = 0.0
        self._tail = Tail(progress) if progress else None
        self._on_progress = on_progress
        self._last: dict[str, object] = {}
        self._started = time.monotonic()
        self._live: Live | None = None
        self._spinner = Spinner("dots", style="cyan")

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if console.is_terminal:
            self._live = Live(get_renderable=self._running, console=console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.monotonic() - self._started
        if error is not None and self.state == "done":
            self.state = "failed"
        if self._live is not None:
            self._live.stop()
        if self._quiet and self.state == "unchanged":
            return
        mark, style = MARKS[self.state]
        line = Text()
        line.append(f"  {mark} ", style=style)
        line.append(f"{self.name:<24}", style="" if self.state != "unchanged" else "dim")
        line.append(f"{self.seconds:7.1f} s  ", style="dim")
        line.append("unchanged" if self.state == "unchanged" else self.note, style="dim")
        console.print(line)

    def follow(self) -> None:
        """Take over what the stage has reported since the last call."""
        for line in self._tail.lines() if self._tail else []:
            try:
                self._last = json.loads(line)
            except json.JSONDecodeError:
                continue
            if self._on_progress is not None and self._last.get("done") == self._last.get("total"):
                self._on_progress(describe(self._last))

    def _running(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        self._spinner.text = ""
        elapsed = f"{time.monotonic() - self._started:7.1f} s"
        cells: list[RenderableType] = [Text(" "), self._spinner, Text(f"{self.name:<23}"), Text(elapsed, style="dim")]
        if self._last:
            total, done = _number(self._last.get("total")), _number(self._last.get("done"))
            cells.append(ProgressBar(total=max(total, 1), completed=done, width=24, complete_style="cyan"))
            cells.append(Text(describe(self._last), style="dim"))
        grid.add_row(*cells)
        return Group(grid)


class Tail:
    """The lines a file has gained since the last look; a file that is not there yet has none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = b""

    def lines(self) -> list[str]:
        try:
            with open(self._path, "rb") as file:
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return []
        self._position += len(content)
        *whole, self._rest = (self._rest + content).split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]


class Follower(threading.Thread):
    """Calls `look` every quarter of a second until the block ends, and once more then."""

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._look = look
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(0.25):
            self._look()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()
        self._look()


def describe(progress: dict[str, object]) -> str:
    """`train 120/800 steps  loss 2.31` from one line of progress.jsonl."""
    values = progress.get("values")
    shown = "  ".join(f"{k} {v:.4g}" for k, v in values.items()) if isinstance(values, dict) else ""
    done, total, unit = (progress.get(name) for name in ("done", "total", "unit"))
    counted = done if total is None else f"{done}/{total}"
    return f"{progress.get('phase')} {counted} {unit}  {shown}".rstrip()


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
