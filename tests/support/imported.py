"""What a command line prints, and which modules it imports to do so."""

from __future__ import annotations

import json
import subprocess
import sys

IMPORTED = """
import json, sys
from circuitwatch.cli import main
try:
    main(json.loads(sys.argv[1]))
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported(*arguments: str, given: str = "") -> tuple[str, set[str]]:
    """What a command line prints, and the modules that it has imported by its end; given: what it
    reads on standard input.
    """
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=False,
        input=given,
    )
    lines = done.stderr.splitlines()
    modules = next(line for line in lines if line.startswith("["))
    said = "\n".join(line for line in lines if line != modules)
    return done.stdout + said, set(json.loads(modules))
