"""Names of the people that records and rows mention by id, for those who may see the accounts."""

from collections.abc import Mapping

from vault.operations import accounts
from web.guard import caller, user
from web.site import site
from web.views import permitted


def names() -> Mapping[str, str]:
    """Names by `account:<id>`; only the reader's own where the policy does not let them see the accounts."""
    own = user().login.account
    if not permitted.pages()["accounts"]:
        return {f"account:{own.id}": own.name}
    listed = accounts.list_accounts(site(), caller(), view="names")["items"]
    return {f"account:{account['id']}": account["name"] for account in listed}
