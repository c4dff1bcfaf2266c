"""The recipe `debian-12`: a Debian 12 that starts fast under software emulation and trusts nobody by default.

Measured with one emulated CPU of type qemu64: agent after 11 s, cloud-init done after 20 s. What buys the time
is said beside each part. The root account is locked and nobody has a password; who may log in comes with the
seed.
"""

from vault.disks.images.recipe import Recipe

_CLOUD_INIT = """\
# The seed is a disk of ours or there is none: no time is lost asking networks for one.
datasource_list: [NoCloud, None]
users: []
disable_root: true
ssh_pwauth: false
ssh_deletekeys: true
ssh_genkeytypes: [ed25519]
manage_etc_hosts: localhost
system_info:
  network:
    renderers: [networkd]
# Two starts of Python instead of four: what belongs to the config stage runs in the first one.
cloud_init_modules:
  - bootcmd
  - write-files
  - set_hostname
  - update_hostname
  - update_etc_hosts
  - ca-certs
  - users-groups
  - ssh
  - set-passwords
  - timezone
  - runcmd
cloud_config_modules: []
cloud_final_modules:
  - scripts-per-once
  - scripts-per-boot
  - scripts-per-instance
  - scripts-user
  - final-message
"""

# The units of Debian run before sysinit.target, so that everything waits for two starts of Python. Here the guest
# agent comes first; network, logins and SSH still wait for cloud-init.
_CLOUD_INIT_LOCAL = """\
[Unit]
Description=Initial cloud-init job (pre-networking)
DefaultDependencies=no
Wants=network-pre.target
After=basic.target qemu-guest-agent.service
Before=network-pre.target ssh.service systemd-user-sessions.service shutdown.target
Conflicts=shutdown.target
RequiresMountsFor=/var/lib/cloud

[Service]
Type=oneshot
ExecStart=/usr/bin/cloud-init init --local
RemainAfterExit=yes
TimeoutSec=0
StandardOutput=journal+console

[Install]
WantedBy=cloud-init.target
"""

# With a seed that says `dsmode: local` the first job has done all, and this one would only start Python to find out.
_CLOUD_INIT_NETWORK = """\
[Unit]
Description=Initial cloud-init job (metadata service crawler)
DefaultDependencies=no
Wants=cloud-init-local.service
After=cloud-init-local.service systemd-networkd.service basic.target
Before=network-online.target ssh.service systemd-user-sessions.service shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecCondition=/bin/sh -c "! grep -q dsmode=local /run/cloud-init/status.json"
ExecStart=/usr/bin/cloud-init init
RemainAfterExit=yes
TimeoutSec=0
StandardOutput=journal+console

[Install]
WantedBy=cloud-init.target
"""

_INITRAMFS = """\
# A small initrd unpacks fast. The hook `strongroom` names the drivers; FSTYPE brings the file system's check along,
# which runs here and so need not wait for udev later.
MODULES=list
COMPRESS=zstd
FSTYPE=ext4
"""

_INITRAMFS_HOOK = """\
#!/bin/sh
# Drivers of the disks that hypervisors offer; udev loads those that are there.
if [ "$1" = prereqs ]; then exit 0; fi
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk virtio_scsi sd_mod nvme ahci ata_piix xen_blkfront hv_storvsc ext4
"""

_SSHD = """\
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""

_UNITS = "/lib/systemd/system"

DEBIAN_12 = Recipe(
    name="debian-12",
    os="Debian GNU/Linux 12 (bookworm)",
    suite="bookworm",
    packages=(
        "ca-certificates",
        "cloud-init",
        "dbus",
        "initramfs-tools",
        "iproute2",
        "kmod",
        "linux-image-cloud-amd64",
        "openssh-server",
        "qemu-guest-agent",
        "sudo",
        "systemd-resolved",
        "systemd-sysv",
        "udev",
        "zstd",
    ),
    loader_packages=("shim-signed", "grub-efi-amd64-signed"),
    excluded_paths=(
        "path-exclude=/usr/share/man/*",
        "path-exclude=/usr/share/info/*",
        "path-exclude=/usr/share/locale/*",
        "path-include=/usr/share/locale/locale.alias",
        "path-exclude=/usr/share/doc/*",
        "path-include=/usr/share/doc/*/copyright",
    ),
    files={
        "etc/cloud/cloud.cfg.d/90-strongroom.cfg": _CLOUD_INIT,
        # ds-identify searches the hardware for clouds in shell; the list above is the answer.
        "etc/cloud/ds-identify.cfg": "policy: enabled\n",
        "etc/hostname": "debian\n",
        "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
        "etc/initramfs-tools/conf.d/strongroom": _INITRAMFS,
        "etc/initramfs-tools/hooks/strongroom": _INITRAMFS_HOOK,
        # Hardware virtualisation inside a guest is not offered; the module is large and loads wherever a CPU says so.
        "etc/modprobe.d/strongroom.conf": "blacklist kvm\nblacklist kvm_amd\nblacklist kvm_intel\n",
        # The root partition takes what the disk has; systemd-growfs then grows the file system (fstab).
        "etc/repart.d/50-root.conf": "[Partition]\nType=root\n",
        "etc/ssh/sshd_config.d/50-strongroom.conf": _SSHD,
        "etc/systemd/system/cloud-init-local.service": _CLOUD_INIT_LOCAL,
        "etc/systemd/system/cloud-init.service": _CLOUD_INIT_NETWORK,
    },
    links={
        "etc/systemd/system/multi-user.target.wants/cloud-init.target": f"{_UNITS}/cloud-init.target",
        "etc/systemd/system/multi-user.target.wants/systemd-networkd.service": f"{_UNITS}/systemd-networkd.service",
        "etc/systemd/system/sockets.target.wants/systemd-networkd.socket": f"{_UNITS}/systemd-networkd.socket",
        "etc/systemd/system/dbus-org.freedesktop.network1.service": f"{_UNITS}/systemd-networkd.service",
    },
    masked_units=(
        # Nothing here waits for an hour of the night, or for a network that may never come.
        "system/apt-daily.timer",
        "system/apt-daily-upgrade.timer",
        "system/dpkg-db-backup.timer",
        "system/e2scrub_all.timer",
        "system/e2scrub_reap.service",
        "system/systemd-networkd-wait-online.service",
        # Stages of cloud-init that have nothing to do (see above).
        "system/cloud-config.service",
        "system/cloud-init-hotplugd.socket",
        # Hardware that a guest of ours has not.
        "system/getty@tty1.service",
        "system/modprobe@dm_mod.service",
        "system/modprobe@drm.service",
        "system/modprobe@efi_pstore.service",
        "system/modprobe@fuse.service",
        "system/modprobe@loop.service",
        "system/systemd-binfmt.service",
        "system/systemd-pstore.service",
        # Each generator is a program started before anything else.
        "system-generators/systemd-debug-generator",
        "system-generators/systemd-gpt-auto-generator",
        "system-generators/systemd-hibernate-resume-generator",
        "system-generators/systemd-integritysetup-generator",
        "system-generators/systemd-rc-local-generator",
        "system-generators/systemd-run-generator",
        "system-generators/systemd-system-update-generator",
        "system-generators/systemd-veritysetup-generator",
    ),
    kernel_options="rw console=tty0 console=ttyS0",
    disk_bytes=2 * 1024**3,
)
