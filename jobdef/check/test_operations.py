"""Least privilege, from the record of the whole test run: every operation that the worker asked the embedded endpoints for
(tests/it/record.rs says how it is kept) against the policies of jobdef/iam and the role of the stack. None missing, none too
many, and each on its own queues and table.

Needs OPERATIONS, the file of the record; .ci/jobdef makes it where .ci/run has not."""

import collections
import copy
import json
import os
import pathlib

import pytest
from files import load, template
from gate import SAME, listed

FILE = os.environ.get("OPERATIONS")
pytestmark = pytest.mark.skipif(not FILE, reason="OPERATIONS names no record of a test run")

# What the placeholders of the JSON files and the parameters of the stack are to the worker.
KINDS = {
    ":wait-queue": "source",
    ":schedule-queue": "destination",
    ":wait-queue-rejected": "reject",
    ":wait-queue-held": "hold",
    ":table/sqs-drain": "table",
    ":${WaitQueueName}": "source",
    ":${DestinationQueueName}": "destination",
    ":${RejectQueueName}": "reject",
    ":${HoldQueueName}": "hold",
    "CheckpointTable.Arn": "table",
}
WORKER = ("iam/task-policy.json", "iam/hold-policy.json")
# Sub-commands that an operator runs with the worker's permissions.
LOOKING = ("check", "plan", "status", "pause", "resume", "rate", "doubts list")
EVERYBODY = {"run", "ports", "init", "doubts settle", *LOOKING}

Asked = collections.namedtuple("Asked", "by action on name")


@pytest.fixture(scope="module")
def record():
    """What was asked for. A batch needs the permission of its single call."""
    found = set()
    for line in pathlib.Path(FILE).read_text().splitlines():
        entry = json.loads(line)
        service, call = entry["call"].split(":")
        found.add(Asked(entry["by"], f"{service}:{SAME.get(call, call)}", tuple(entry["on"]), entry.get("name")))
    return found


def kind_of(resource):
    """What a resource is to the worker; one that is none of its own is itself."""
    if isinstance(resource, dict):
        ((_, value),) = resource.items()
        resource = ".".join(value) if isinstance(value, list) else value
    for end, kind in KINDS.items():
        if resource.endswith(end):
            return kind
    return resource


def branches(value):
    """`value`, or all that an Fn::If may turn it into."""
    if isinstance(value, dict) and "Fn::If" in value:
        return [each for branch in value["Fn::If"][1:] for each in branches(branch)]
    return [] if value == {"Ref": "AWS::NoValue"} else [value]


def granted(*documents):
    """The (action, kind of resource) pairs that documents allow. Keys are not the endpoints' matter: see kms-policy.json."""
    pairs = set()
    for document in documents:
        for statement in (each for entry in document["Statement"] for each in branches(entry)):
            for resource in (each for entry in listed(statement["Resource"]) for each in branches(entry)):
                pairs |= {(action, kind_of(resource)) for action in listed(statement["Action"])}
    return {(action, kind) for action, kind in pairs if not action.startswith("kms:")}


def missing(asked, pairs):
    """What was asked for and is not allowed, in words. Adapters without settings may do to a queue what is allowed on any."""
    found = []
    for one in sorted(asked):
        kinds = {kind for action, kind in pairs if action == one.action}
        served = kinds - {"table"} if one.on == ("queue",) else kinds & set(one.on)
        if not served:
            name = f" ({one.name}, which it was never told of)" if one.name else ""
            found.append(f"`{one.by}` asks for {one.action} on {' and '.join(one.on)}{name}, and no statement allows it")
    return found


def surplus(asked, pairs):
    """What is allowed and was not asked for, in words."""
    used = {(one.action, one.on[0]) for one in asked if len(one.on) == 1}
    return [f"{action} on {kind} is allowed, and nothing asked for it" for action, kind in sorted(pairs - used)]


def by(record, *names):
    return {one for one in record if one.by in names}


def complaints(record, *documents):
    """What is wrong with these documents as the worker's permissions: whatever it and those who look after it ask for must be
    allowed, and `run` itself, the only command that a job starts, must need all of it."""
    pairs = granted(*documents)
    return missing(by(record, "run", "ports", *LOOKING), pairs) + surplus(by(record, "run"), pairs)


def fit(found):
    """Nothing found, or all of it said."""
    assert not found, "\n" + "\n".join(found)


def role_of_the_stack():
    (policy,) = template()["Resources"]["TaskRole"]["Properties"]["Policies"]
    return policy["PolicyDocument"]


def test_the_record_is_of_a_whole_test_run(record):
    assert {one.by for one in record} == EVERYBODY, "the record is of a part of the tests, or a sub-command is new"
    assert len(by(record, "run")) > 20


def test_the_workers_policies_fit(record):
    fit(complaints(record, *map(load, WORKER)))


def test_the_role_of_the_stack_fits(record):
    fit(complaints(record, role_of_the_stack()))


def test_init_has_what_it_needs(record):
    pairs = granted(load("iam/init-policy.json"))
    fit(missing(by(record, "init"), pairs) + surplus(by(record, "init"), pairs))


def test_settling_has_what_it_needs(record):
    """`doubts settle` receives from the hold queue, which the worker may not: that is a policy added to the worker's."""
    asked = by(record, "doubts settle")
    worker, more = granted(*map(load, WORKER)), granted(load("iam/settle-policy.json"))
    fit(missing(asked, worker | more) + surplus(asked, more))
    assert worker & more == set(), "allowed by the worker's policies already"


def test_a_permission_taken_away_is_missed(record):
    """Every single one, from a copy."""
    taken = 0
    for index, name in enumerate(WORKER):
        for place, statement in enumerate(load(name)["Statement"]):
            for action in listed(statement["Action"]):
                documents = [copy.deepcopy(load(each)) for each in WORKER]
                documents[index]["Statement"][place]["Action"].remove(action)
                found = complaints(record, *documents)
                assert any(f"asks for {action} on " in line for line in found), f"{name}: without {action} nothing is missed: {found}"
                taken += 1
    assert taken == len([action for name in WORKER for entry in load(name)["Statement"] for action in entry["Action"]]) > 15


@pytest.mark.parametrize(
    ("sid", "field", "value", "said"),
    [
        ("TakeFromWaitQueue", "Action", "sqs:PurgeQueue", "sqs:PurgeQueue on source is allowed"),
        ("TakeFromWaitQueue", "Action", "sqs:SendMessage", "sqs:SendMessage on source is allowed"),
        ("PutIntoDestination", "Action", "sqs:DeleteMessage", "sqs:DeleteMessage on destination is allowed"),
        ("PutIntoDestination", "Action", "sqs:*", "sqs:* on reject is allowed"),
        ("KeepCheckpoints", "Action", "dynamodb:Scan", "dynamodb:Scan on table is allowed"),
        ("KeepCheckpoints", "Resource", "*", "dynamodb:PutItem on * is allowed"),
        ("TakeFromWaitQueue", "Resource", "arn:aws:sqs:ap-northeast-2:111122223333:wait-*", "wait-* is allowed"),
    ],
)
def test_a_permission_too_many_is_seen(record, sid, field, value, said):
    documents = [copy.deepcopy(load(each)) for each in WORKER]
    (statement,) = [each for document in documents for each in document["Statement"] if each["Sid"] == sid]
    statement[field] = [*listed(statement[field]), value]
    assert any(said in line for line in complaints(record, *documents)), complaints(record, *documents)


def test_what_belongs_to_nobody_is_seen(record):
    """A queue that the worker was never told of, and one that is two things to it."""
    documents = [load(name) for name in WORKER]
    stranger = Asked("run", "sqs:ReceiveMessage", ("other",), "somebody-elses")
    assert any("somebody-elses, which it was never told of" in line for line in complaints(record | {stranger}, *documents))
    fit(complaints(record | {Asked("run", "sqs:ReceiveMessage", ("destination", "source"), None)}, *documents))
