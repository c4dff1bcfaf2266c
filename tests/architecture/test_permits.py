"""The law of the gate, checked on the syntax tree: effects take a permit, and only the gate makes one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Modules whose public functions act on the world, and the functions there that only read or only run before there is
#: a gate (with the reason). Everything else in them takes a permit first and checks it first.
EFFECTS: dict[str, dict[str, str]] = {
    "vault/identity/accounts.py": {
        "all": "read",
        "by_id": "read",
        "by_name": "read",
        "named": "read",
        "check_new": "read",
        "refusal": "read",
        "account_ref": "pure",
    },
    "vault/identity/sessions.py": {
        "resolve": "recognises a token, notes when it was last used",
        "tokens_of": "read",
        "open_of": "read",
        "session_ref": "pure",
    },
    "vault/keystore/client.py": {
        "start": "starts the sealed process",
        "close": "ends it, which wipes the KEK",
        "status": "read",
        "list_keys": "read",
        "show_key": "read",
    },
    "vault/disks/format.py": {"prepare": "makes the empty template"},
    "vault/disks/erase.py": {},
    "vault/disks/images/store.py": {
        "all": "read",
        "get": "read",
        "verified_disk": "read",
        "verified_kernel": "read",
    },
    "vault/guests/libvirt_host.py": {
        "is_running": "read",
        "list_active": "read",
        "versions": "read",
        "stats": "read",
        "agent_answers": "read",
        "watch": "read",
        "close": "disconnects",
        "undefine_secrets": "safe direction: takes keys away, works at any time",
    },
}


def public_functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            protocol = any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and not item.name.startswith("_") and not protocol:
                    if any(isinstance(d, ast.Name) and d.id == "property" for d in item.decorator_list):
                        continue
                    yield item.name, item


@pytest.mark.parametrize("path", EFFECTS)
def test_every_effect_takes_a_permit_and_checks_it_before_anything_else(path: str) -> None:
    functions = dict(public_functions(ast.parse((ROOT / path).read_text())))
    assert set(EFFECTS[path]) <= set(functions), "a name in the list above is no more"
    effects = {name: node for name, node in functions.items() if name not in EFFECTS[path]}
    assert effects
    for name, node in effects.items():
        arguments = [argument.arg for argument in node.args.args if argument.arg != "self"]
        assert arguments[:1] == ["permit"], f"{path}: {name} acts without a permit"
        body = [
            statement
            for statement in node.body
            if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        ]
        assert ast.unparse(body[0]).startswith("permit.require("), f"{path}: {name} acts before it checks"


def test_only_the_gate_makes_permits() -> None:
    makers = {
        str(path.relative_to(ROOT))
        for folder in ("policies", "audit", "vault", "web")
        for path in (ROOT / folder).rglob("*.py")
        if "_GATE_TOKEN" in path.read_text() or "Permit(" in path.read_text().replace("class Permit", "")
    }
    assert makers == {"vault/gate.py", "vault/permit.py"}


@pytest.mark.parametrize(
    ("module", "home"),
    [
        ("libvirt", "vault/guests/"),
        ("libvirt_qemu", "vault/guests/"),
        ("cedarpy", "policies/engine.py"),
        ("reportlab", "audit/report/pdf/"),
        ("flask", "web/"),
        ("argon2", "vault/"),
    ],
)
def test_each_foreign_library_is_known_in_one_place_only(module: str, home: str) -> None:
    for folder in ("policies", "audit", "vault", "web"):
        for path in (ROOT / folder).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            for node in ast.walk(ast.parse(path.read_text())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module or ""]
                if any(found == module or found.startswith(f"{module}.") for found in names):
                    assert name.startswith(home), f"{name} imports {module}"


def test_every_module_says_its_reason() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for folder in ("policies", "audit", "vault", "web", "tests/demo")
        for path in (ROOT / folder).rglob("*.py")
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_no_operation_acts_but_through_the_gate() -> None:
    """Each public operation that is handed a caller asks the gate, itself or by the one operation it calls."""
    for path in sorted((ROOT / "vault/operations").glob("*.py")):
        for name, node in public_functions(ast.parse(path.read_text())):
            arguments = [argument.arg for argument in node.args.args]
            if "caller" not in arguments:
                continue
            source = ast.unparse(node)
            assert "site.gate." in source, f"{path.name}: {name} does not ask the gate"
