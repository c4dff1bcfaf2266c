"""The two tiny programs that a probe guest runs, as bytes: a boot sector, and an initramfs for a kernel.

Made here byte by byte, so that a probe needs no compiler, no busybox and no file but, for the second, a
kernel.
"""

import struct

from vault.guests.newc import DIRECTORY, EXECUTABLE, Member, newc_archive

#: What each program says on the first serial port when it has come to its end.
SECTOR_WORD = b"STRONGROOM-SECTOR-RAN"
KERNEL_WORD = b"STRONGROOM-KERNEL-RAN"

_SECTOR_BYTES = 512
#: QEMU refuses a drive that is too small for a partition table's geometry.
_DRIVE_BYTES = 1024 * 1024
_LOAD_ADDRESS = 0x7C00
_COUNT = 100_000_000
_GDT_AT = 0x100
_WORD_AT = 0x180

_ELF_BASE = 0x400000
_ELF_HEADER_BYTES = 64
_PROGRAM_HEADER_BYTES = 56
_CHARACTER_DEVICE = 0o020600
_CONSOLE = (5, 1)


def boot_sector() -> bytes:
    """A drive whose first sector enters protected mode, counts to 100 million, and says so.

    The count takes a tenth of a second where the processor runs the guest's code, and minutes where a
    hypervisor steps through it one instruction at a time, which is how KVM "hangs" on hosts that are
    paravirtual themselves.
    """
    gdt, word = _LOAD_ADDRESS + _GDT_AT, _LOAD_ADDRESS + _WORD_AT
    # 16-bit: cli; xor ax,ax; mov ds,ax; lgdt [gdt_pointer]; mov eax,cr0; or al,1; mov cr0,eax
    entry = b"\xfa\x31\xc0\x8e\xd8\x0f\x01\x16%b\x0f\x20\xc0\x0c\x01\x0f\x22\xc0" % struct.pack(
        "<H", gdt + 24
    )
    # ljmp 8:protected, which is the instruction after this one
    entry += struct.pack("<2sIH", b"\x66\xea", _LOAD_ADDRESS + len(entry) + 8, 8)
    # 32-bit: mov ax,16; mov ds,ax; mov ecx,COUNT; 1: dec ecx; jnz 1b; mov esi,word; mov dx,0x3f8
    # 2: lodsb; test al,al; jz 3f; out dx,al; jmp 2b; 3: mov dx,0xf4; out dx,al; 4: hlt; jmp 4b
    code = (
        b"\x66\xb8\x10\x00\x8e\xd8\xb9%b\x49\x75\xfd\xbe%b"
        b"\x66\xba\xf8\x03\xac\x84\xc0\x74\x03\xee\xeb\xf8"
        b"\x66\xba\xf4\x00\xee\xf4\xeb\xfd"
    ) % (struct.pack("<I", _COUNT), struct.pack("<I", word))
    sector = bytearray(_SECTOR_BYTES)
    sector[: len(entry) + len(code)] = entry + code
    # Three descriptors (none, flat code, flat data) and the pointer to them.
    table = struct.pack("<QQQHI", 0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF, 23, gdt)
    sector[_GDT_AT : _GDT_AT + len(table)] = table
    sector[_WORD_AT : _WORD_AT + len(SECTOR_WORD)] = SECTOR_WORD
    sector[-2:] = b"\x55\xaa"
    return bytes(sector).ljust(_DRIVE_BYTES, b"\0")


def probe_initramfs() -> bytes:
    """An initramfs whose `/init` says its word on the console and powers the machine off (newc, cpio(5))."""
    return newc_archive(
        [
            Member("dev", DIRECTORY),
            Member("dev/console", _CHARACTER_DEVICE, device=_CONSOLE),
            Member("init", EXECUTABLE, _init_program()),
        ]
    )


def _init_program() -> bytes:
    """A static ELF64 program for x86-64: write(1, word), reboot(POWER_OFF), and wait should that fail."""
    code_at = _ELF_BASE + _ELF_HEADER_BYTES + _PROGRAM_HEADER_BYTES
    message = KERNEL_WORD + b"\n"
    # mov eax,1 (write); mov edi,1; lea rsi,[rip+message]; mov edx,length; syscall
    # mov eax,169 (reboot); mov edi,0xfee1dead; mov esi,0x28121969; mov edx,0x4321fedc; syscall; jmp .
    # The message follows the code, which has 31 bytes after the `lea`.
    code = (
        b"\xb8\x01\x00\x00\x00\xbf\x01\x00\x00\x00\x48\x8d\x35%b\xba%b\x0f\x05"
        b"\xb8\xa9\x00\x00\x00\xbf\xad\xde\xe1\xfe\xbe\x69\x19\x12\x28\xba\xdc\xfe\x21\x43\x0f\x05\xeb\xfe"
    ) % (struct.pack("<i", 31), struct.pack("<I", len(message)))
    size = _ELF_HEADER_BYTES + _PROGRAM_HEADER_BYTES + len(code) + len(message)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        *(2, 62, 1, code_at, _ELF_HEADER_BYTES, 0, 0),
        *(_ELF_HEADER_BYTES, _PROGRAM_HEADER_BYTES, 1, 0, 0, 0),
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _ELF_BASE, _ELF_BASE, size, size, 0x1000)
    return header + segment + code + message
