"""`python -m autoscaler`."""

from autoscaler.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
