"""The kernel: whether this machine's own has VTI, and where Debian's is."""

import os
import subprocess
import tempfile
from pathlib import Path

from .output import fail, progress, run_quietly
from .places import LAB

KERNEL_PACKAGE = "linux-image-amd64"
TRIAL = (
    "ip link add vtitry type vti local 192.0.2.1 remote 192.0.2.2 key 1 && "
    "ip link add vti6try type vti6 local 2001:db8::1"
)


def has_vti() -> bool:
    """Whether this machine's kernel can make a VTI, tried in a namespace that ends with the try."""
    if os.geteuid():
        return False
    words = ["unshare", "-n", "sh", "-c", TRIAL]
    nowhere = subprocess.DEVNULL
    return subprocess.run(words, stdout=nowhere, stderr=nowhere, check=False).returncode == 0


def kernel() -> Path:
    """The path of the image of Debian's kernel, which is unpacked with its modules."""
    images = sorted((LAB / "kernel").glob("*/boot/vmlinuz-*"))
    if not images:
        fetch_kernel()
        return kernel()
    return images[-1]


def fetch_kernel() -> None:
    progress("fetching Debian's kernel")
    name = newest_package()
    target = LAB / "kernel" / name
    with tempfile.TemporaryDirectory(dir=LAB) as folder:
        Path(folder).chmod(0o755)
        run_quietly("apt-get", "download", name, cwd=folder)
        (archive,) = Path(folder).glob("*.deb")
        unpacked = Path(folder) / "unpacked"
        run_quietly("dpkg", "-x", str(archive), str(unpacked))
        release = put_modules(unpacked)
        run_quietly("depmod", "-b", str(unpacked), release)
        target.parent.mkdir(parents=True, exist_ok=True)
        unpacked.rename(target)


def newest_package() -> str:
    """The package that KERNEL_PACKAGE stands for."""
    run_quietly("apt-get", "update")
    words = ["apt-cache", "depends", KERNEL_PACKAGE]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    depends = [line for line in said.splitlines() if "Depends: linux-image-" in line]
    if not depends:
        fail(f"apt has no {KERNEL_PACKAGE}", "run this on Debian, or on a kernel that has ip_vti")
    return depends[0].split()[-1]


def put_modules(unpacked: Path) -> str:
    """Puts a package's modules where depmod and virtme-ng look for them; the kernel's release."""
    modules = unpacked / "lib/modules"
    if not modules.exists():
        # Debian 13's packages have them below usr.
        modules.parent.mkdir(exist_ok=True)
        (unpacked / "usr/lib/modules").rename(modules)
    (release,) = modules.iterdir()
    return release.name
