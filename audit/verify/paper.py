"""Reads the text of a paper witness's code as telephones hand it over: other line ends, blanks around it."""


def scanned_checkpoint(untrusted: bytes) -> bytes:
    """The signed checkpoint in a scanned text; what was signed is left as it is."""
    lines = untrusted.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").strip().split(b"\n")
    return b"\n".join(line.rstrip() for line in lines) + b"\n"
