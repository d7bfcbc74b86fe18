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


def cfn_lint(*arguments):
    """Runs cfn-lint; gives what it found, empty when nothing."""
    command = pathlib.Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([command, *arguments], capture_output=True, text=True)
    assert (done.returncode == 0) == (done.stdout.strip() == ""), done.stderr
    return done.stdout.strip()
