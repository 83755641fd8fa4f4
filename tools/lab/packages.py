"""Debian's packages: some are installed, and some are unpacked for the tests' hosts alone."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .output import fail, progress, run_quietly
from .places import LAB

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
VIRTUAL_MACHINE_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "depmod": "kmod",
    "/bin/busybox": "busybox-static",
    "file": "file",
    "udevadm": "udev",
}
BESIDE = ("bird2", "frr", "libreswan", "libcharon-extauth-plugins", "strongswan-pki")
"""Packages that the tests' hosts alone see.

Installed on the machine, they would start daemons, or push strongSwan out.
"""

ALONE = ("prometheus",)
"""Packages of which only a program is run that needs no other package: promtool."""


def install_programs(programs: dict[str, str]) -> None:
    """Installs the packages of those programs that are missing."""
    packages = {package for program, package in programs.items() if not is_there(program)}
    if packages:
        install(sorted(packages))


def is_there(program: str) -> bool:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return shutil.which(program, path=path) is not None or Path(program).exists()


def install(packages: list[str]) -> None:
    names = " ".join(packages)
    if os.geteuid():
        fail(f"{names} must be installed", "run it as root")
    if shutil.which("apt-get") is None:
        fail(
            f"{names} must be installed, and there is no apt-get", "install what they hold by hand"
        )
    progress(f"installing {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_quietly("apt-get", "update", env=environment)
    run_quietly("apt-get", "install", "-y", "--no-install-recommends", *packages, env=environment)
    if "strongswan-starter" in packages and Path("/run/systemd/system").is_dir():
        stop_starter()


def stop_starter() -> None:
    """The tests start their own in namespaces; nobody has asked for the machine's own."""
    words = ["systemctl", "disable", "--now", "strongswan-starter"]
    subprocess.run(words, stderr=subprocess.DEVNULL, check=False)


def beside(package: str) -> Path:
    """The folder of an unpacked package, with what it needs and this machine does not have."""
    target = LAB / "beside" / package
    if target.exists():
        return target
    if os.geteuid() or shutil.which("apt-get") is None:
        fail(f"{package} must be unpacked", "run it as root on Debian or Ubuntu")
    progress(f"fetching {package}")
    with tempfile.TemporaryDirectory(dir=LAB) as folder:
        Path(folder).chmod(0o755)
        archives = Path(folder) / "archives"
        download(package, archives)
        unpacked = unpack_all(archives, Path(folder) / "unpacked")
        (archive,) = archives.glob(f"{package}_*.deb")
        (unpacked / "version").write_text(version_of(archive))
        target.parent.mkdir(parents=True, exist_ok=True)
        unpacked.rename(target)
    return target


def alone(package: str) -> Path:
    """The folder of an unpacked package, without what it depends on."""
    target = unpacked_alone(package)
    if target.exists():
        return target
    if shutil.which("apt-get") is None:
        fail(f"{package} must be unpacked", "run it on Debian or Ubuntu")
    progress(f"fetching {package}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=LAB) as folder:
        if os.geteuid() == 0:
            # As apt's own user, it could not write there.
            shutil.chown(folder, "_apt")
            run_quietly("apt-get", "update")
        run_quietly("apt-get", "download", package, cwd=folder)
        (archive,) = Path(folder).glob(f"{package}_*.deb")
        run_quietly("dpkg", "-x", str(archive), f"{folder}/unpacked")
        (Path(folder) / "unpacked").rename(target)
    return target


def unpacked_alone(package: str) -> Path:
    return LAB / "alone" / package


def download(package: str, archives: Path) -> None:
    (archives / "partial").mkdir(parents=True)
    run_quietly(
        "apt-get",
        "install",
        "-y",
        "--no-install-recommends",
        "--download-only",
        "--reinstall",
        "-o",
        f"Dir::Cache::archives={archives}",
        package,
    )


def unpack_all(archives: Path, unpacked: Path) -> Path:
    # As the machine has these links, all files come to be below usr.
    for name in ("bin", "sbin", "lib", "lib64"):
        (unpacked / "usr" / name).mkdir(parents=True)
        (unpacked / name).symlink_to(f"usr/{name}")
    for archive in archives.glob("*.deb"):
        run_quietly("dpkg", "-x", str(archive), str(unpacked))
    return unpacked


def version_of(archive: Path) -> str:
    words = ["dpkg-deb", "-f", str(archive), "Version"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
