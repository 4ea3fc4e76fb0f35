"""`python -m circuitwatch`, the same as the console script."""

from circuitwatch.cli import main

if __name__ == "__main__":
    main()
