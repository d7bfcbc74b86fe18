"""Where things are, and how the checks look at them."""

import json
import pathlib
import subprocess
import sys

import yaml

CHECK = pathlib.Path(__file__).resolve().parent
JOBDEF = CHECK.parent
REPO = JOBDEF.parent
STACK = JOBDEF / "stack.yaml"

# The placeholders of the JSON files, in the manner of AWS's own documentation.
ACCOUNT = "111122223333"
REGION = "ap-northeast-2"


def load(name):
    """One JSON file of jobdef/, for instance `load("iam/task-policy.json")`. A key that occurs twice is an error."""

    def once(pairs):
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), f"{name}: a key occurs twice: {keys}"
        return dict(pairs)

    return json.loads((JOBDEF / name).read_text(), object_pairs_hook=once)


class _Cfn(yaml.SafeLoader):
    """YAML with CloudFormation's short forms (`!Ref x`, `!Sub x`), read as their long forms."""


def _short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix in ("Ref", "Condition"):
        return {suffix: value}
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{suffix}": value}


_Cfn.add_multi_constructor("!", _short_form)


def template():
    """The stack as CloudFormation reads it, every intrinsic in its long form."""
    return yaml.load(STACK.read_text(), Loader=_Cfn)


def conditions(body, given):
    """Which of the template's conditions hold when it gets these parameters (the rest by default)."""
    parameters = {key: str(value.get("Default", "")) for key, value in body["Parameters"].items()}
    parameters.update(given)

    def holds(condition):
        ((kind, inner),) = condition.items()
        if kind == "Condition":
            return holds(body["Conditions"][inner])
        if kind == "Fn::Not":
            return not holds(inner[0])
        if kind == "Fn::And":
            return all(holds(each) for each in inner)
        assert kind == "Fn::Equals", kind
        left, right = (parameters[side["Ref"]] if isinstance(side, dict) else str(side) for side in inner)
        return left == right

    return {name: holds(condition) for name, condition in body["Conditions"].items()}


def without_no_value(value, holding):
    """`value` less the list entries that an `!If` turns into AWS::NoValue, for an emulator that would leave a null."""
    nothing = {"Ref": "AWS::NoValue"}

    def chosen(entry):
        if isinstance(entry, dict) and set(entry) == {"Fn::If"}:
            condition, yes, no = entry["Fn::If"]
            return chosen(yes if holding[condition] else no)
        return entry

    if isinstance(value, dict):
        return {key: inner if key == "Fn::If" else without_no_value(inner, holding) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_no_value(entry, holding) for entry in map(chosen, value) if entry != nothing]
    return value


def cfn_lint(*arguments):
    """Runs cfn-lint; gives what it found, empty when nothing."""
    command = pathlib.Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([command, *arguments], capture_output=True, text=True)
    assert (done.returncode == 0) == (done.stdout.strip() == ""), done.stderr
    return done.stdout.strip()
