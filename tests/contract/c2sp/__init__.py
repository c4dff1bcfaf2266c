"""A verifier of C2SP logs that we did not write, built from Debian's golang-golang-x-mod-dev."""

import subprocess
from pathlib import Path

_PACKAGES = Path("/usr/share/gocode/src/golang.org/x/mod/sumdb")
_PROGRAM = Path(__file__).with_name("verifier.go")


class GoVerifier:
    """Runs the verifier; `build` compiles it in a few seconds."""

    def __init__(self, program: Path) -> None:
        self._program = program

    @classmethod
    def build(cls, folder: Path) -> "GoVerifier":
        for name in ("note", "tlog"):
            package = f"golang.org/x/mod/sumdb/{name}"
            sources = sorted(
                str(path) for path in (_PACKAGES / name).glob("*.go") if not path.name.endswith("_test.go")
            )
            (folder / package).parent.mkdir(parents=True, exist_ok=True)
            _compile(["-c", f"-fgo-pkgpath={package}", "-o", f"{package}.o", *sources], folder)
        objects = [f"golang.org/x/mod/sumdb/{name}.o" for name in ("note", "tlog")]
        _compile(["-o", "verifier", str(_PROGRAM), *objects], folder)
        return cls(folder / "verifier")

    def __call__(self, *arguments: str | Path) -> tuple[int, str]:
        """Exit code (0, or 7 where it does not hold) and what it said."""
        done = subprocess.run(
            [self._program, *map(str, arguments)], check=False, capture_output=True, text=True, timeout=120
        )
        return done.returncode, done.stdout + done.stderr


def _compile(arguments: list[str], folder: Path) -> None:
    subprocess.run(["gccgo", "-O1", "-I", str(folder), *arguments], cwd=folder, check=True, timeout=240)
