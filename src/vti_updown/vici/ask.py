"""All that charons tell of their SAs and connections, within one time limit.

A charon that does not answer is no error here: its answer says why. Nothing is locked meanwhile,
and must not be: see `session`.
"""

import threading
import time
from collections.abc import Iterable

from ..named_tuple import NamedTuple
from ..output import refused
from . import charons as found
from .charons import Charon, Hook, Socket
from .protocol import Message, VICIError
from .sas import Connection, IkeSa, connections, ike_sas
from .session import Session, Silent

WHOLE_LIST_SHARE = 0.6
"""As much of the time as the list of all SAs may take, before what is in use is left out."""
NO_SOCKET = "it has no VICI socket that can be seen: only root can, and its plugin vici must run"


class Answer(NamedTuple):
    """What a charon told. What it did not tell is None."""

    charon: Charon
    socket: str
    """The path of the one that was asked, as the charon sees it. Empty if there is none."""
    version: str | None
    """Of strongSwan, such as `5.9.8`."""
    plugins: list[str] | None
    """Those that are loaded."""
    connections: list[Connection] | None
    sas: list[IkeSa] | None
    is_complete: bool
    """Whether `sas` has all IKE_SAs. Some are missing if they were in use, as by a hook."""
    hooks: list[Hook]
    """What the charon waited for when it did not answer."""
    trouble: str
    """Why something is missing, in one line. Empty if all was told."""
    remark: str
    """What else one should know, in one line. Mostly empty."""


class _Told:
    """An answer while it is collected."""

    def __init__(self, charon: Charon) -> None:
        self.charon = charon
        self.socket = ""
        self.version: str | None = None
        self.plugins: list[str] | None = None
        self.connections: list[Connection] | None = None
        self.sas: list[IkeSa] | None = None
        self.is_complete = False
        self.hooks: list[Hook] = []
        self.trouble = ""
        self.remark = ""

    def answer(self) -> Answer:
        return Answer(
            charon=self.charon,
            socket=self.socket,
            version=self.version,
            plugins=self.plugins,
            connections=self.connections,
            sas=self.sas,
            is_complete=self.is_complete,
            hooks=self.hooks,
            trouble=self.trouble,
            remark=self.remark,
        )


def ask(charons: Iterable[Charon | str], seconds: float) -> list[Answer]:
    """What each charon tells, in the same order. It takes `seconds` at most, for all together.

    A text is the path of a VICI socket. All are asked side by side, so none waits for another.
    """
    asked = [found.by_hand(each) if isinstance(each, str) else each for each in charons]
    end = time.monotonic() + seconds
    told = [_Told(charon) for charon in asked]
    threads = [threading.Thread(target=_ask, args=(each, end)) for each in told]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [each.answer() for each in told]


def _ask(told: _Told, end: float) -> None:
    """Asks one charon until this time of the monotonic clock."""
    sockets = told.charon.sockets
    if not sockets:
        told.trouble = NO_SOCKET
    for socket in sockets:
        _ask_socket(told, socket, end)
        if told.version is not None or time.monotonic() >= end:
            return


def _ask_socket(
    told: _Told,
    socket: Socket,
    end: float,
) -> None:
    told.socket = socket.path
    told.trouble = ""
    start = time.monotonic()
    try:
        with Session(socket.reached_by, end - start) as session:
            if _is_right(told, socket, session.peer):
                _collect(told, socket, session, end)
    except Silent:
        told.trouble = _silent(told, end - start)
    except VICIError as error:
        told.trouble = str(error)
    except Exception as error:  # The answers of the other charons are not lost for this one.
        told.trouble = refused(error).message


def _is_right(
    told: _Told,
    socket: Socket,
    peer: int,
) -> bool:
    """Whether it is this charon that listens. One that was named by hand is looked up."""
    if told.charon.pid == 0 and peer:
        told.charon = found.at(peer, socket)
    is_its = found.is_its_socket(told.charon, socket, peer)
    if is_its is None:
        told.remark = "whether the socket is this charon's cannot be told from this PID namespace"
    if is_its is False:
        told.trouble = f"PID {peer} listens on its socket instead"
        return False
    return True


def _collect(
    told: _Told,
    socket: Socket,
    session: Session,
    end: float,
) -> None:
    """Asks for one thing after another, so that what comes before a silence is there."""
    told.version = _text(session.request("version"), "version")
    told.plugins = _texts(session.request("stats"), "plugins")
    told.connections = []
    for message in session.stream("list-conns", "list-conn"):
        told.connections += connections(message)
    if _collect_all_sas(told, socket, end):
        return
    told.sas = []
    for message in session.stream("list-sas", "list-sa", {"noblock": "yes"}):
        told.sas += ike_sas(message)


def _collect_all_sas(
    told: _Told,
    socket: Socket,
    end: float,
) -> bool:
    """Asks for all SAs, also those that charon is working on. Whether it told them in time.

    charon waits for each that is in use, and its thread goes on waiting when we do not. So this has
    a session of its own.
    """
    seconds = (end - time.monotonic()) * WHOLE_LIST_SHARE
    sas: list[IkeSa] = []
    try:
        with Session(socket.reached_by, seconds) as session:
            for message in session.stream("list-sas", "list-sa"):
                sas += ike_sas(message)
    except Silent:
        told.trouble = f"{_silent(told, seconds)}; SAs that it works on are missing"
        return False
    told.sas = sas
    told.is_complete = True
    return True


def _silent(told: _Told, seconds: float) -> str:
    """Says that a charon was silent for so long, and what it waits for."""
    told.hooks = found.hooks(told.charon.pid)
    line = f"it did not answer within {seconds:.1f} s"
    if told.hooks:
        running = " and ".join(str(hook) for hook in told.hooks)
        line = f"{line}, since it waits for its hook: {running}"
    return line


def _text(message: Message, key: str) -> str | None:
    value = message.get(key)
    if isinstance(value, str):
        return value
    return None


def _texts(message: Message, key: str) -> list[str] | None:
    value = message.get(key)
    if isinstance(value, list):
        return value
    return None
