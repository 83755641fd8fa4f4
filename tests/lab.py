#!/usr/bin/env python3
"""Runs a command as root on a kernel that has VTI: this machine's own, else Debian's in a virtual machine.

    lab.py prepare          install and build what the tests need, with nothing run
    lab.py beside           fetch the packages that the tests' hosts see and this machine does not
    lab.py run COMMAND…     run COMMAND in this directory, and exit as it does; COMMAND… --and COMMAND… runs several,
                            beside each other in virtual machines of their own where it takes any
    lab.py shell            a shell there
    lab.py venv FOLDER      a Python environment of its own, for `make install`
    lab.py tools COMMAND…   run COMMAND on this machine, with the lab's Python first in PATH

What is built is kept in /var/lib/vti-updown-lab (or $VTI_UPDOWN_LAB) and used again. Needs Debian or Ubuntu, and root
to install packages. It uses the standard library only, and must run before anything is installed.
"""

import fcntl
import hashlib
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import tty
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAB = Path(os.environ.get("VTI_UPDOWN_LAB", "/var/lib/vti-updown-lab"))
OLDEST = ["pyroute2==0.7.2", "click==8.1.0"] if os.environ.get("VTI_UPDOWN_OLDEST") else []
"""The oldest versions that pyproject.toml allows, for VTI_UPDOWN_OLDEST=1; else the newest are taken."""
VENV = LAB / ("venv-oldest" if OLDEST else "venv")
EXCHANGE = ROOT / ".lab"
"""Where a virtual machine leaves what is to come back out; it sees all other files, and changes none of them."""

PROGRAMS = {
    # What is run, and the package that has it.
    "/usr/lib/ipsec/charon": "strongswan-charon",
    "/usr/lib/ipsec/starter": "strongswan-starter",
    "/usr/sbin/swanctl": "strongswan-swanctl",
    "/usr/lib/ipsec/plugins/libstrongswan-openssl.so": "libstrongswan-standard-plugins",
    "ip": "iproute2",
    "ping": "iputils-ping",
    "tcpdump": "tcpdump",
    "sysctl": "procps",
    "nft": "nftables",
    "strace": "strace",
}
VM_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "depmod": "kmod",
    "/bin/busybox": "busybox-static",
    "file": "file",
    "udevadm": "udev",
}
BESIDE = ("bird2", "frr", "libreswan", "libcharon-extauth-plugins", "strongswan-pki")
"""Packages that the tests' hosts alone see: installed, they would start daemons, or push strongSwan out."""
KERNEL_PACKAGE = "linux-image-amd64"
PASSED_ON = ("CI", "TERM", "COLUMNS", "PYTEST_ADDOPTS")
"""Variables that the virtual machine gets, too, beside VTI_UPDOWN_…."""
SHELL = ["bash", "-i"]
BOOT_SECONDS = 90
"""A virtual machine that has not started the command by then will not; without KVM it takes about 10."""


def progress(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


def die(text: str, hint: str) -> None:
    print(f"error: {text}; {hint}", file=sys.stderr, flush=True)
    sys.exit(1)


def quiet(*command: str, cwd: str | None = None, env: dict[str, str] | None = None) -> None:
    """Runs a command that has nothing to say unless it fails."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False, cwd=cwd, env=env
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        die(f"{shlex.join(command)} failed", "see above")


def alone() -> None:
    """Waits for another run to end: it uses what this one would make anew."""
    LAB.mkdir(parents=True, exist_ok=True)
    lock = os.open(LAB / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # held until this process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        progress("waiting for another run to end")
        fcntl.flock(lock, fcntl.LOCK_EX)


# What this machine needs


def install(programs: dict[str, str], *more: str) -> None:
    """Installs the packages of the programs that are missing."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = {
        package
        for program, package in programs.items()
        if shutil.which(program, path=path) is None and not Path(program).exists()
    }
    if not missing and not more:
        return
    packages = [*sorted(missing), *more]
    if os.geteuid():
        die(f"{' '.join(packages)} must be installed", "run it as root")
    if shutil.which("apt-get") is None:
        die(f"{' '.join(packages)} must be installed, and there is no apt-get", "install what they hold by hand")
    progress(f"installing {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet("apt-get", "update", env=environment)
    quiet("apt-get", "install", "-y", "--no-install-recommends", *packages, env=environment)
    if "strongswan-starter" in packages and Path("/run/systemd/system").is_dir():
        # The tests start their own in namespaces; the machine's own was not asked for.
        subprocess.run(["systemctl", "disable", "--now", "strongswan-starter"], stderr=subprocess.DEVNULL, check=False)


def python() -> str:
    """A Python that the virtual machine has, too: the distribution's own, else the one that runs this."""
    return "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable


def venv(folder: Path) -> None:
    """Makes an empty Python environment."""
    probe = subprocess.run([python(), "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL, check=False)
    if probe.returncode:
        install({}, "python3-venv")
    quiet(python(), "-m", "venv", str(folder))


def environment() -> None:
    """The tests' Python: an environment of its own with the hook in it, made anew when pyproject.toml has changed."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + python().encode()).hexdigest()
    stamp = VENV / "made-of"
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not stamp.exists() or stamp.read_text() != wanted:
        progress(f"making a Python environment in {VENV}")
        shutil.rmtree(VENV, ignore_errors=True)
        LAB.mkdir(parents=True, exist_ok=True)
        venv(VENV)
        quiet(*pip, "setuptools>=68", "wheel", f"{ROOT}[test]", *OLDEST)
        stamp.write_text(wanted)
    with tempfile.TemporaryDirectory() as copy:  # pip leaves a build folder beside the sources
        ignored = shutil.ignore_patterns(".git", ".lab", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")
        shutil.copytree(ROOT, copy, dirs_exist_ok=True, ignore=ignored)
        quiet(*pip, "--no-build-isolation", "--no-deps", "--force-reinstall", copy)


def beside(package: str) -> Path:
    """A package that is not installed, unpacked with what it needs and this machine has not: the folder with its files."""
    target = LAB / "beside" / package
    if target.exists():
        return target
    if os.geteuid() or shutil.which("apt-get") is None:
        die(f"{package} must be unpacked", "run it as root on Debian or Ubuntu")
    progress(f"fetching {package}")
    with tempfile.TemporaryDirectory(dir=LAB) as folder:
        Path(folder).chmod(0o755)
        archives, unpacked = Path(folder) / "archives", Path(folder) / "unpacked"
        (archives / "partial").mkdir(parents=True)
        kept = f"Dir::Cache::archives={archives}"
        quiet("apt-get", "install", "-y", "--no-install-recommends", "--download-only", "--reinstall", "-o", kept, package)
        for name in ("bin", "sbin", "lib", "lib64"):  # as the machine has them, so that all is in usr
            (unpacked / "usr" / name).mkdir(parents=True)
            (unpacked / name).symlink_to(f"usr/{name}")
        for archive in archives.glob("*.deb"):
            quiet("dpkg", "-x", str(archive), str(unpacked))
        (found,) = archives.glob(f"{package}_*.deb")
        version = subprocess.run(["dpkg-deb", "-f", str(found), "Version"], capture_output=True, text=True, check=True).stdout
        (unpacked / "version").write_text(version)
        target.parent.mkdir(parents=True, exist_ok=True)
        unpacked.rename(target)
    return target


# The kernel


def has_vti() -> bool:
    """Whether this machine's kernel can make a VTI, tried in a namespace that ends with the try."""
    if os.geteuid():
        return False
    script = (
        "ip link add vtitry type vti local 192.0.2.1 remote 192.0.2.2 key 1 && ip link add vti6try type vti6 local 2001:db8::1"
    )
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0


def kernel() -> Path:
    """Debian's kernel, unpacked with its modules: the path of its image."""
    images = sorted((LAB / "kernel").glob("*/boot/vmlinuz-*"))
    if images:
        return images[-1]
    progress("fetching Debian's kernel")
    quiet("apt-get", "update")
    depends = subprocess.run(["apt-cache", "depends", KERNEL_PACKAGE], capture_output=True, text=True, check=False).stdout
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line]
    if not names:
        die(f"apt has no {KERNEL_PACKAGE}", "run this on Debian, or on a kernel that has ip_vti")
    target = LAB / "kernel" / names[0]
    with tempfile.TemporaryDirectory(dir=LAB) as folder:
        Path(folder).chmod(0o755)
        quiet("apt-get", "download", names[0], cwd=folder)
        (package,) = Path(folder).glob("*.deb")
        unpacked = Path(folder) / "unpacked"
        quiet("dpkg", "-x", str(package), str(unpacked))
        release = put_modules(unpacked)
        quiet("depmod", "-b", str(unpacked), release)
        target.parent.mkdir(parents=True, exist_ok=True)
        unpacked.rename(target)
    return kernel()


def put_modules(unpacked: Path) -> str:
    """Has a kernel package's modules where depmod and virtme-ng look for them; the kernel's release."""
    modules = unpacked / "lib/modules"
    if not modules.exists():  # Debian 13's packages have them below usr
        modules.parent.mkdir(exist_ok=True)
        (unpacked / "usr/lib/modules").rename(modules)
    (release,) = modules.iterdir()
    return release.name


def virtme() -> str:
    """virtme-ng, in an environment of its own: the path of its `vng`."""
    home = LAB / "virtme-ng"
    if not (home / "bin/vng").exists():
        progress("installing virtme-ng")
        shutil.rmtree(home, ignore_errors=True)
        venv(home)
        quiet(str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "virtme-ng")
    return str(home / "bin/vng")


def kvm() -> bool:
    """Whether KVM runs an ordinary kernel here: some clouds' does not, and hangs. Tried once, and remembered."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    answer = LAB / f"kvm-{os.uname().release}"
    if not answer.exists():
        progress("trying whether KVM works here")
        status = boot(["true"], use_kvm=True, seconds=30, show=False)
        answer.write_text("yes" if status == 0 else "no")
    return answer.read_text() == "yes"


def boot(command: list[str], use_kvm: bool, seconds: int = BOOT_SECONDS, show: bool = True) -> int:
    """Boots the virtual machine, runs the command in it with this directory, and returns its exit status."""
    EXCHANGE.mkdir(exist_ok=True)
    started, status, job = (EXCHANGE / f"{name}-{os.getpid()}" for name in ("started", "status", "job"))
    try:
        return _booted(command, use_kvm, seconds, show, (started, status, job))
    finally:
        for file in (started, status, job):
            file.unlink(missing_ok=True)


def _booted(command: list[str], use_kvm: bool, seconds: int, show: bool, files: tuple[Path, Path, Path]) -> int:
    started, status, job = files
    variables = {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith("VTI_UPDOWN_")}
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    job.write_text(
        f"export PATH={VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin VTI_UPDOWN_IN_VM=1\n{exports}"
        f"cd {shlex.quote(str(Path.cwd()))}\n: > {shlex.quote(str(started))}\n"
        f"{shlex.join(command)}\necho $? > {shlex.quote(str(status))}\nsync\n"
    )
    # Emulated, two processors wait for each other most of the time, above all on a busy machine: one is up to ten times faster.
    processors = ["--cpus", "2"] if use_kvm else ["--disable-kvm", "--cpus", "1"]
    vng = [virtme(), *processors, "--force-9p", "--memory", "2G", "--user", "root"]
    vng += ["--overlay-rwdir", "/etc", "--overlay-rwdir", "/var", "--overlay-rwdir", "/usr", "--rwdir", str(EXCHANGE)]
    # The files do not change while it runs: without a cache every start of a program reads it all over again.
    vng += ["--append", "rootflags=version=9p2000.L,trans=virtio,access=any,msize=512000,cache=loose"]
    vng += ["--run", str(kernel()), "--exec", f"sh {job}"]
    early = _on_a_terminal(vng, started, seconds, show, interactive=command == SHELL)
    if show and not started.exists():
        print(early.decode(errors="replace"), file=sys.stderr)
        die(f"the virtual machine did not run the command within {seconds} s, or ended before", "see above for what it said")
    return int(status.read_text()) if status.exists() else 1


def _on_a_terminal(vng: list[str], started: Path, seconds: int, show: bool, interactive: bool) -> bytes:
    """Runs virtme-ng, which wants a terminal, and shows what it prints once `started` is there; returns what came before."""
    keyboard = sys.stdin.fileno() if interactive and sys.stdin.isatty() else None
    modes = None if keyboard is None else termios.tcgetattr(keyboard)
    early = b""
    end = time.monotonic() + seconds
    child, terminal = pty.fork()
    if child == 0:
        os.environ["PATH"] = f"{Path(vng[0]).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        os.execv(vng[0], vng)
    try:
        if keyboard is not None:
            tty.setraw(keyboard)
        while started.exists() or time.monotonic() < end:
            ready, _, _ = select.select([terminal] if keyboard is None else [terminal, keyboard], [], [], 1)
            if keyboard in ready:
                os.write(terminal, os.read(keyboard, 4096))
            if terminal not in ready:
                continue
            try:
                data = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            if not started.exists():
                early += data
            elif show:
                os.write(1, data if keyboard is not None else data.replace(b"\r\n", b"\n"))
    finally:
        if keyboard is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, modes)
        # pty.fork() made the child a session of its own: this ends QEMU too, however we leave.
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(child, 0)
        os.close(terminal)
    return early


def run(command: list[str]) -> int:
    """Runs the command on a kernel with VTI, and returns its exit status."""
    prepare()
    if has_vti():
        progress("using this machine's kernel")
        return subprocess.run(command, env=tool_environment(), check=False).returncode
    use_kvm = kvm()
    progress(f"booting {kernel().name}{'' if use_kvm else ' without KVM, which takes a while'}")
    return boot(command, use_kvm)


def run_all(commands: list[list[str]]) -> int:
    """Runs several commands as `run` does, and returns the first exit status that is not 0.

    In virtual machines they run beside each other, since each uses one processor; what they print comes one after another.
    """
    prepare()
    if len(commands) == 1 or has_vti():
        return next((status for status in map(run, commands) if status), 0)
    use_kvm = kvm()
    progress(f"booting {kernel().name} {len(commands)} times{'' if use_kvm else ' without KVM, which takes a while'}")
    children: list[tuple[int, int]] = []
    try:
        for command in commands:
            output = os.memfd_create("output") if children else 1
            child = os.fork()
            if child == 0:
                os.dup2(output, 1)
                os._exit(_ended(command, use_kvm))
            children.append((child, output))
        statuses = []
        for child, output in children:
            _, status = os.waitpid(child, 0)
            statuses.append(os.waitstatus_to_exitcode(status))
            if output != 1:
                os.lseek(output, 0, os.SEEK_SET)
                while data := os.read(output, 65536):
                    os.write(1, data)
        return next((status for status in statuses if status), 0)
    except BaseException:
        for child, _ in children:  # each ends its virtual machine
            try:
                os.kill(child, signal.SIGTERM)
                os.waitpid(child, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        raise


def _ended(command: list[str], use_kvm: bool) -> int:
    try:
        return boot(command, use_kvm)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        return 130


def prepare() -> None:
    LAB.mkdir(parents=True, exist_ok=True)
    install(PROGRAMS)
    environment()
    if not has_vti():
        install(VM_PROGRAMS)
        virtme()
        kernel()


def tool_environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{VENV}/bin:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


def main(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if words:
        alone()
    if words in (["prepare"], ["beside"]):
        for package in BESIDE if words == ["beside"] else ():
            beside(package)
        prepare()
        return 0
    if words[:1] == ["venv"] and len(words) == 2:
        venv(Path(words[1]))
        return 0
    if words[:1] == ["tools"] and len(words) > 1:
        environment()
        return subprocess.run(words[1:], env=tool_environment(), check=False).returncode
    if words == ["shell"]:
        return run(SHELL)
    if words[:1] == ["run"] and len(words) > 1:
        commands: list[list[str]] = [[]]
        for word in words[1:]:
            if word == "--and":
                commands.append([])
            else:
                commands[-1].append(word)
        return run_all(commands)
    print(__doc__)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
