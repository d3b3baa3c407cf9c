"""`python -m mmcore` is the command `mmcore`."""

from mmcore.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
