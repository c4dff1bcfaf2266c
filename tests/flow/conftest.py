"""One real site for the flow tests of a run, opened with a hypervisor in memory by each module."""

from collections.abc import Iterator

import pytest

from tests.fakes.guest_host import FakeGuestHost
from tests.sites import OPERATOR, PreparedSite, prepared_site
from vault.gate import Caller
from vault.site import Site


@pytest.fixture(scope="session")
def prepared() -> Iterator[PreparedSite]:
    with prepared_site(FakeGuestHost()) as made:
        yield made


@pytest.fixture(scope="module")
def host() -> FakeGuestHost:
    return FakeGuestHost()


@pytest.fixture(scope="module")
def site(prepared: PreparedSite, host: FakeGuestHost) -> Iterator[Site]:
    with prepared.opened(host) as opened:
        yield opened


@pytest.fixture
def olga(prepared: PreparedSite) -> Caller:
    return prepared.caller(OPERATOR)
