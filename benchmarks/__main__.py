"""Runs the comparisons with other libraries one after another and writes what they print into docs/benchmarks.md.

make bench
"""

import subprocess
import sys
from pathlib import Path

from mmcore.workspace import write_bytes

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
SCRIPTS = ("engine", "disk", "caching", "recall", "generation", "metrics")
TOP = """# Beside other libraries

What `make bench` prints. Each script runs mmcore and what one would take instead on the same work, in turns on
one machine, and gives ratios; seconds by themselves say more about the machine. What each compares stands at its top.
"""


def main() -> None:
    page = [TOP]
    for name in SCRIPTS:
        path = HERE / f"{name}.py"
        title, _, about = path.read_text(encoding="utf-8").split('"""')[1].partition("\n")
        print(f"{name}: {title}", flush=True)
        printed = subprocess.run([sys.executable, path], stdout=subprocess.PIPE, text=True, check=True).stdout
        about = "\n\n".join(part for part in about.strip("\n").split("\n\n") if not part.startswith("    "))
        page.append(f"## {title}\n\n{about}\n\n`benchmarks/{name}.py`:\n\n```text\n{printed.rstrip()}\n```\n")
    write_bytes(PAGE, "\n".join(page).encode())


if __name__ == "__main__":
    main()
