"""What the lab says, and commands that say nothing unless they fail."""

import shlex
import subprocess
import sys
from typing import NoReturn


def progress(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


def fail(text: str, hint: str) -> NoReturn:
    print(f"error: {text}; {hint}", file=sys.stderr, flush=True)
    sys.exit(1)


def run_quietly(*command: str, cwd: str | None = None, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        cwd=cwd,
        env=env,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        fail(f"{shlex.join(command)} failed", "see above")
