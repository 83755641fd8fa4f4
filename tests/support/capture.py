"""What passes on a link, as tcpdump sees it."""

import os
import subprocess
import time

from .host import Host
from .namespaces import Failed


class Capture:
    """Counts packets on a link with tcpdump, between `with` and its end."""

    def __init__(self, host: Host, link: str, expression: str) -> None:
        self.host, self.link, self.expression = host, link, expression
        self.count = 0
        self.file = f"/run/capture-{os.urandom(4).hex()}"

    def __enter__(self) -> "Capture":
        look = f"tcpdump -Z root -p --immediate-mode -U -n -i {self.link} -w {self.file}"
        words = self.host.command(*look.split(), self.expression)
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert self._process.stderr is not None
        while b"listening" not in (line := self._process.stderr.readline()):
            if not line:
                raise Failed("tcpdump did not start")
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(1)
        self._process.terminate()
        self._process.wait()
        text = self.host.run(
            "sh", "-c", f"tcpdump -Z root -n -r {self.file} 2>/dev/null; rm -f {self.file}"
        )
        self.lines = text.splitlines()
        self.count = len(self.lines)
