"""Where packages come from: the host's own sources when they serve the suite, else the bootstrap's defaults.

No address of an archive stands in our code. apt itself is asked what the host's sources are; what only works on
this host (files, CD-ROMs, addresses with a password in them) is not laid into an image.
"""

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from vault.errors import HostFailure

#: Keys of Debian's archive: package debian-archive-keyring, on Ubuntu too.
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_FORMAT = "$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)"
_ORIGIN = "Debian"
_COMPONENT = "main"
_TIMEOUT_S = 30.0


def host_sources(suite: str) -> list[str]:
    """The host's own sources for a Debian suite, as lines of a sources.list; empty when it has none.

    Raises:
        HostFailure: apt is there but does not answer.
    """
    return sources_from_targets(_index_targets(), suite)


def sources_from_targets(targets: str, suite: str) -> list[str]:
    """Turn apt's list of index targets into lines of a sources.list.

    Args:
        targets: lines of origin, codename, component and address, parted by `|`.
        suite: codename of the suite; its updates and security suites come along.

    Returns:
        the lines, without duplicates; empty unless the suite itself is among them.
    """
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    found: dict[str, list[str]] = {name: [] for name in wanted}
    for target in targets.splitlines():
        fields = target.split("|")
        if len(fields) != 4:
            continue
        origin, codename, component, address = fields
        if origin != _ORIGIN or codename not in found or component != _COMPONENT:
            continue
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or "@" in parts.netloc or not parts.netloc:
            continue
        line = f"deb {address} {codename} {component}"
        if line not in found[codename]:
            found[codename].append(line)
    if not found[suite]:
        return []
    return [line for name in wanted for line in found[name]]


def _index_targets() -> str:
    try:
        answer = subprocess.run(
            ["apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostFailure(
            "apt-get does not answer what the host's package sources are.",
            "Run `apt-get check` on this host.",
        ) from error
    if answer.returncode != 0:
        raise HostFailure(
            "apt-get could not say what the host's package sources are.", "Run `apt-get check` on this host."
        )
    return answer.stdout
