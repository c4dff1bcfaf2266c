"""placeholder"""
from tests.bench.subject import Subject
SUBJECT = Subject(("guest.ready",), lambda s, w: iter(()))
