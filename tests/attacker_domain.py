"""An attacker with root and libvirt, but no role: defines a domain of their own on a guest's disk."""

import os
import secrets
from pathlib import Path

import libvirt

_DOMAIN = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>128</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <seclabel type='static' model='dac' relabel='yes'><label>+0:+0</label></seclabel>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{disk}'>{encryption}</source>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
"""


class AttackSucceeded(AssertionError):
    """The attacker's domain ran."""


def try_attackers_domain(disk: Path) -> str:
    """Try the disk without a key, and with a secret of the attacker's own.

    Returns:
        libvirt's refusal, one line.

    Raises:
        AttackSucceeded: a domain started.
    """
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    connection = libvirt.open("qemu:///system")
    own = connection.secretDefineXML("<secret ephemeral='yes' private='yes'/>")
    own.setValue(b"a guess of the attacker's")
    refusals = []
    before = disk.stat()
    try:
        for secret in ("00000000-0000-4000-8000-000000000000", own.UUIDString()):
            encryption = f"<encryption format='luks'><secret type='passphrase' uuid='{secret}'/></encryption>"
            name = f"attacker-{secrets.token_hex(4)}"
            try:
                domain = connection.createXML(_DOMAIN.format(name=name, disk=disk, encryption=encryption))
            except libvirt.libvirtError as error:
                refusals.append(str(error).replace("\n", " "))
                continue
            domain.destroy()
            raise AttackSucceeded(f"a domain ran on {disk}")
    finally:
        own.undefine()
        connection.close()
        # libvirt changed the owner for the attacker; put back what was there.
        os.chown(disk, before.st_uid, before.st_gid)
    # What QEMU said last is the reason; before it stands its whole command line.
    return refusals[-1].rsplit("}: ", 1)[-1][-160:]
