import io
import json
import logging
from collections.abc import Iterator

import pytest

from web.daemon_log import JsonLines, OpeningFilter, set_up_logging


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The root logger's output, and its state put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    set_up_logging(stream)
    yield stream
    root.handlers[:], root.level = handlers, level


def test_each_line_is_one_json_object_with_its_facts(lines: io.StringIO) -> None:
    logging.getLogger("web.access").info(
        "request", extra={"facts": {"route": "/guests/<name>", "status": 200}}
    )
    logging.getLogger("vault.jobs").warning("two\nlines")
    first, second = (json.loads(line) for line in lines.getvalue().splitlines())
    assert first["route"] == "/guests/<name>"
    assert first["level"] == "info"
    assert second["message"] == "two\nlines"


def test_an_exception_is_told_by_type_and_place_never_by_its_text(lines: io.StringIO) -> None:
    try:
        try:
            raise ValueError("hunter2 is the password")
        except ValueError as inner:
            raise RuntimeError("token abcdef") from inner
    except RuntimeError:
        logging.getLogger("web.errors").exception("Something unexpected went wrong.")
    written = lines.getvalue()
    assert "hunter2" not in written
    assert "abcdef" not in written
    told = json.loads(written)["error"]
    assert [cause["type"] for cause in told] == ["builtins.RuntimeError", "builtins.ValueError"]
    assert "test_daemon_log.py" in told[0]["frames"][0]


def test_a_malformed_request_is_told_without_what_it_held() -> None:
    record = logging.LogRecord(
        "gunicorn.error", logging.WARNING, __file__, 1,
        "Invalid request from ip=10.0.0.7: Invalid HTTP Header: 'AUTHORIZATION: Bearer s3cret'", None, None,
    )  # fmt: skip
    written = JsonLines().format(record)
    assert "s3cret" not in written
    assert "10.0.0.7" not in written


def test_other_libraries_are_quiet_below_a_warning(lines: io.StringIO) -> None:
    logging.getLogger("sqlalchemy.engine").info("SELECT password_hash FROM account")
    assert lines.getvalue() == ""


def test_before_the_site_is_open_a_terminal_sees_only_errors_of_ours() -> None:
    opening = OpeningFilter()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(opening)
    logger = logging.Logger("web.serve")  # noqa: LOG001 - one that nothing else listens to
    logger.addHandler(handler)
    server = logging.Logger("gunicorn.error")  # noqa: LOG001
    server.addHandler(handler)
    logger.info("early")
    server.error("Worker (pid:1) exited with code 4.")
    logger.error("unexpected")
    opening.open()
    logger.info("late")
    assert stream.getvalue().split() == ["unexpected", "late"]
