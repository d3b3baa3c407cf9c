import multiprocessing
import os
import signal
import subprocess
import sys
import time
from math import sqrt

import pytest

from mmcore.data.parallel import map_processes


def test_results_come_in_the_order_of_the_work_with_any_number_of_processes() -> None:
    work = [float(number) for number in range(20)]
    assert list(map_processes(sqrt, work, processes=1)) == list(map_processes(sqrt, work, processes=2))


def test_an_error_in_a_worker_is_raised_here() -> None:
    with pytest.raises(ValueError, match=r"domain|nonnegative"):
        list(map_processes(sqrt, [1.0, -1.0, 4.0], processes=2))


def fail() -> None:
    list(map_processes(sqrt, [1.0, -1.0, 4.0, 9.0], processes=2))


def test_a_process_whose_work_failed_ends(capfd: pytest.CaptureFixture[str]) -> None:
    process = multiprocessing.get_context("spawn").Process(target=fail)
    process.start()
    process.join(60)
    assert process.exitcode == 1
    assert "ValueError" in capfd.readouterr().err


def test_no_work_gives_nothing() -> None:
    assert list(map_processes(sqrt, [])) == []


def test_the_workers_end_with_the_process_that_started_them() -> None:
    script = (
        "import time; from mmcore.data.parallel import map_processes\n"
        "if __name__ == '__main__':\n"
        "    print('go', flush=True)\n    list(map_processes(time.sleep, [600, 600], processes=2))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    children = _wait_for(lambda: _workers(process.pid), least=2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _wait_for(lambda: [1] * all(not _alive(child) for child in children), least=1)


def _workers(parent: int) -> list[int]:
    with open(f"/proc/{parent}/task/{parent}/children") as file:
        children = [int(child) for child in file.read().split()]
    return [child for child in children if b"spawn_main" in _command(child)]


def _command(process: int) -> bytes:
    with open(f"/proc/{process}/cmdline", "rb") as file:
        return file.read()


def _alive(process: int) -> bool:
    return os.path.exists(f"/proc/{process}") and bool(_command(process))


def _wait_for(look: object, *, least: int) -> list[int]:
    assert callable(look)
    for _ in range(400):
        found: list[int] = look()
        if len(found) >= least:
            return found
        time.sleep(0.05)
    raise AssertionError("waited 20 seconds in vain")
