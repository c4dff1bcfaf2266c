"""The digest of a policy bundle, as anybody can recompute it from the files in an export.

`policies.bundle` makes the same digest when it loads a bundle. It is written out here because the verifier
must not load a policy engine to check a hash; a test compares the two.
"""

import re
from collections.abc import Mapping
from hashlib import sha256

from audit.errors import RecordInvalid

#: Names that stay what they are in any file system and archive.
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,127}")


def bundle_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256, hex, over a line `<SHA-256 of the file>  <name>` for each file in order of the names.

    It is what `LC_ALL=C sha256sum * | sha256sum` prints in the bundle's folder.

    Raises:
        RecordInvalid: there is no file, or a name that could not be a file's in an export.
    """
    if not files or not all(_NAME.fullmatch(name) for name in files):
        raise RecordInvalid("A policy bundle has files with names in lower case.")
    listing = "".join(f"{sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return sha256(listing.encode()).hexdigest()
