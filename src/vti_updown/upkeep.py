"""What people and units do to the records and the kernel beside events: `repair` and `flush`.

Both print the commands that they stood for. Neither needs an event, or settings.
"""

from contextlib import closing

from . import process
from .errors import Refusal
from .explain import commands
from .hook import Taken, adopt_lost, take
from .kernel import Kernel
from .ledger import opened
from .state import Step


def repair() -> list[str]:
    """Puts back what is wished for and gone or changed, and takes away what an event left half done.

    Returns the lines to print. Raises Refusal where the records cannot be had, or something could not be done.
    """
    with closing(Kernel()) as kernel, opened(kernel.namespace()) as ledger:
        adopt_lost(process.charon(), ledger, kernel)
        keys = ledger.every_key()
        ledger.doubt(kernel.astray(ledger.applied(keys)))
        return _report(take(keys, ledger, kernel), "nothing to repair")


def flush(stale: bool, force: bool) -> list[str]:
    """Takes away all of ours; with `stale` only what belongs to a charon that is gone.

    Returns the lines to print. Raises Refusal while a charon lives whose tunnels would go, unless `force`; and where
    the records cannot be had, or something could not be taken away.
    """
    with closing(Kernel()) as kernel, opened(kernel.namespace()) as ledger:
        adopt_lost(process.charon(), ledger, kernel)
        if stale:
            keys = ledger.clear_stale(process.alive, [], each=-1)
        else:
            living = [*process.charons(), *(one.partition("@")[0] for one in ledger.charons() if process.alive(one))]
            if living and not force:
                who = f"charon (PID {living[0]}) is running"
                raise Refusal(f"{who} and its tunnels would go", "stop it first, or use --stale, or --force", 1)
            ledger.end_all()
            for one in kernel.ours():
                if not ledger.applied([one.noun.key]):  # left by something that is on no record
                    ledger.done(Step(None, one.noun), one.ifindex)
            keys = ledger.every_key()
        return _report(take(keys, ledger, kernel), "nothing to take away")


def _report(taken: Taken, nothing: str) -> list[str]:
    if taken.failures:
        rest = f" (and {len(taken.failures) - 1} more)" if len(taken.failures) > 1 else ""
        raise Refusal(f"{taken.failures[0]}{rest}", "run it again, as root", 1)
    done = [step for step in taken.steps if step.noun.key not in taken.foreign]
    lines = [command for step in done for command in commands(step, taken.names)]
    return [*(lines or [nothing]), *(f"# {note}" for note in taken.notes)]
