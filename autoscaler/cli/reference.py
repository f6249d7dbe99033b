"""
Writes what is generated from the program: reference pages, CRDs, the schema and index of the policy packs.

`python -m autoscaler.cli.reference ROOT` writes the files below a checkout;
a test compares them.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from autoscaler.backtest.reference import scenario_reference
from autoscaler.cli.exits import Exit
from autoscaler.cli.main import COMMANDS, build_parser
from autoscaler.cli.output import dumps
from autoscaler.model import reasons
from autoscaler.planning.node_engines import ENGINES, NoParams
from autoscaler.policy_files import policy_schema
from autoscaler.policy_files.crd import crd_files
from autoscaler.policy_files.packs import find_packs, installed_packs
from autoscaler.policy_files.read import KINDS
from autoscaler.recommend.engines import BUILT_IN
from autoscaler.sources.reference import query_reference, rules_file
from autoscaler.struct_reference import reference_sections
from autoscaler.telemetry.reference import metrics_reference

_CLI_INTRO = """# Commands

Also as `python -m autoscaler`; `autoscaler COMMAND --help` prints the same.
Standard output holds the result and nothing else; progress and errors go to standard error.
What a command tells a script: [exit codes](exit-codes.md).
"""
_POLICY_INTRO = """# Policy documents

What users write, in files and in the cluster: `podnode.io/v1alpha1`.
GKE's `autoscaling.gke.io/v1beta1` MultidimPodAutoscaler is read as it is; without an engine it means `engine: mpa`.
Unknown fields are refused by name, and every error names the file, the path, the value and what is allowed.
Files are read as YAML 1.2, so that `Off` is a word; for other tools, such as kubectl, put it in quotes.
`autoscaler policy check FILE` checks documents; `autoscaler policy schema` prints their JSON schema.

A *quantity* is one of Kubernetes, such as `250m`, `1.5` or `64Mi`; a *duration* is such as `30s`, `1h30m` or `2d`.
"""
_REASONS_INTRO = """# Reason codes

Every action, and everything that was not done, carries one or more of these.
Codes never change their meaning; new ones may be added.
"""
_EXITS_INTRO = """# Exit codes

What each [command](cli.md) says to a script.
"""
_NODE_ENGINES_INTRO = """# Node engines

A node engine says which nodes to buy and which to give back.
`nodes.engine` in a ScalingPolicy names it, `nodes.params` sets it up.
"""
_ENGINES_INTRO = """# Engines

An engine says what one workload should have: `policy.engine` in a document names it, `policy.params` sets it up.
Engines that are not built in come by entry point, group `autoscaler.recommenders`.
"""


def generated() -> dict[str, str]:
    """Return the text of every generated file, by its path in the checkout."""
    return {
        "docs/reference/cli.md": _cli(),
        "docs/reference/engines.md": _engines(),
        "docs/reference/exit-codes.md": _exits(),
        "docs/reference/metrics.md": metrics_reference(),
        "docs/reference/node-engines.md": _node_engines(),
        "docs/reference/policies.md": _policies(),
        "docs/reference/queries.md": query_reference(),
        "docs/reference/reasons.md": _reasons(),
        "docs/reference/scenario.md": scenario_reference(),
        **{f"deploy/crds/{name}": text for name, text in crd_files().items()},
        "deploy/observability/recording-rules.yaml": rules_file(),
        "policies/index.json": _index(),
        "policies/schema.json": dumps(policy_schema(), "json"),
    }


def main(root: Path) -> int:
    """Write the files below *root*, those that differ."""
    for name, text in generated().items():
        path = root / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}", file=sys.stderr)
    return Exit.DONE


def _cli() -> str:
    parts = [_CLI_INTRO]
    for name in COMMANDS:
        parts += [_command(f"autoscaler {path}", parser) for path, parser in _parsers(name)]
    parts.append(_command("Options of all commands", build_parser(None)))
    return "\n".join(parts)


def _parsers(command: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the parser of a command, and those of its actions."""
    for name, parser in _children(build_parser(command)):
        if name == command:
            yield name, parser
            yield from ((f"{name} {action}", child) for action, child in _children(parser))


def _children(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _command(title: str, parser: argparse.ArgumentParser) -> str:
    """Return a section of our own form: that of argparse differs between versions of Python."""
    lines = [f"## {title}", "", " ".join((parser.description or "").split()), ""]
    rows = [f"| `{_spelled(action)}` | {_meaning(action)} |" for action in parser._actions if _is_shown(action)]
    if rows:
        lines += ["| argument | meaning |", "| --- | --- |", *rows, ""]
    return "\n".join(lines)


def _is_shown(action: argparse.Action) -> bool:
    hidden = isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
    return not hidden and action.help != argparse.SUPPRESS


def _spelled(action: argparse.Action) -> str:
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    name = name.replace("|", " or ")
    if action.choices is not None and action.metavar is None:
        name = " or ".join(str(choice) for choice in action.choices)
    if not action.option_strings:
        return f"{name}..." if action.nargs in ("+", "*") else name
    flags = ", ".join(action.option_strings)
    return flags if action.nargs == 0 else f"{flags} {name}"


def _meaning(action: argparse.Action) -> str:
    text = (action.help or "") % {**vars(action), "prog": "autoscaler"}
    return " ".join(text.split()).replace("|", "\\|")


def _policies() -> str:
    return f"{_POLICY_INTRO}\n{reference_sections({kind.spec: name for name, kind in KINDS.items()})}"


def _engines() -> str:
    rows, kinds = [], []
    for name, engine in sorted(BUILT_IN.items()):
        kind = engine.Params.__name__
        rows.append(f"| `{name}` | {_first_line(type(engine))} | [{kind}](#{kind.lower()}) |")
        kinds.append(engine.Params)
    table = "\n".join(["| engine | what it does | parameters |", "| --- | --- | --- |", *rows])
    return f"{_ENGINES_INTRO}\n{table}\n\n{reference_sections({}, kinds)}"


def _node_engines() -> str:
    rows, kinds = [], []
    for name, engine in sorted(ENGINES.items()):
        taken = "none"
        if engine.params is not NoParams:
            kinds.append(engine.params)
            taken = f"[{engine.params.__name__}](#{engine.params.__name__.lower()})"
        rows.append(f"| `{name}` | {engine.about} | {taken} |")
    table = "\n".join(["| engine | what it does | parameters |", "| --- | --- | --- |", *rows])
    return f"{_NODE_ENGINES_INTRO}\n{table}\n\n{reference_sections({}, kinds)}"


def _first_line(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def _exits() -> str:
    rows = [f"| {Exit[name].value} | `{name}` | {text} |" for name, text in _member_texts(Exit)]
    return "\n".join([_EXITS_INTRO, "| code | name | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def _reasons() -> str:
    rows = [f"| `{reasons.Code[name].value}` | {text} |" for name, text in _member_texts(reasons.Code)]
    return "\n".join([_REASONS_INTRO, "| code | meaning |", "| --- | --- |", *rows]) + "\n"


def _member_texts(kind: type) -> list[tuple[str, str]]:
    """Return the members of an enum and the string under each."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    texts = []
    for line, after in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and isinstance(after, ast.Expr):
            texts.append((line.targets[0].id, " ".join(str(ast.literal_eval(after.value)).split())))
    return texts


def _index() -> str:
    packs = [
        {
            "name": pack.name,
            "title": pack.title,
            "scenarios": [path.stem for path in pack.scenarios],
        }
        for pack in find_packs(installed_packs())
    ]
    return dumps({"packs": packs}, "json")


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
