"""The real key process, except that it reads its intents from tests/fakes/intents.py's file."""

import sys

from tests.fakes.intents import IntentReader
from vault.keystore.process import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], IntentReader))
