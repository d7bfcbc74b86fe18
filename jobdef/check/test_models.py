"""Every JSON file against the model of the service that takes it: no field unknown, none missing, no value outside its enum."""

import json

import botocore.session
import pytest
from botocore.validate import ParamValidator
from files import JOBDEF, load

# File -> the request it is. The IAM documents are in IAM below.
REQUESTS = {
    "batch-job.json": ("batch", "RegisterJobDefinition"),
    "batch-array-job.json": ("batch", "RegisterJobDefinition"),
    "batch-compute-environment.json": ("batch", "CreateComputeEnvironment"),
    "batch-job-queue.json": ("batch", "CreateJobQueue"),
    "ecs-task.json": ("ecs", "RegisterTaskDefinition"),
    "schedule.json": ("scheduler", "CreateSchedule"),
    "schedule-array.json": ("scheduler", "CreateSchedule"),
    "schedule-ecs.json": ("scheduler", "CreateSchedule"),
}
IAM = sorted(path.relative_to(JOBDEF).as_posix() for path in (JOBDEF / "iam").glob("*.json"))
# The CLI accepts these words as they are; the models give batch's and ecs's enums, which the validator does not look at.
_SESSION = botocore.session.get_session()


def model(service):
    return _SESSION.get_service_model(service)


def violations(shape, value, at=""):
    """What botocore's own validator lets pass: words outside an enum, text outside a pattern's length, unknown fields
    at any depth."""
    found = []
    if shape.type_name == "structure":
        for key, inner in value.items():
            if key not in shape.members:
                found.append(f"{at}.{key}: no such field")
            else:
                found += violations(shape.members[key], inner, f"{at}.{key}")
    elif shape.type_name == "list":
        for index, inner in enumerate(value):
            found += violations(shape.member, inner, f"{at}[{index}]")
    elif shape.type_name == "map":
        for key, inner in value.items():
            found += violations(shape.value, inner, f"{at}.{key}")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        found.append(f"{at}: {value!r} is none of {shape.enum}")
    return found


def check(service, operation, request, name):
    shape = model(service).operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), f"{name}: {report.generate_report()}"
    assert violations(shape, request, name) == []


def test_every_json_file_is_looked_at():
    found = sorted(path.name for path in JOBDEF.glob("*.json"))
    assert found == sorted(REQUESTS)


@pytest.mark.parametrize("name", REQUESTS)
def test_request(name):
    service, operation = REQUESTS[name]
    check(service, operation, load(name), name)


@pytest.mark.parametrize("name", IAM)
def test_iam_document_is_a_request(name):
    document = json.dumps(load(name), separators=(",", ":"))
    assert len(document) <= 10240, "an inline role policy holds 10,240 characters"
    if name.endswith("-trust.json"):
        check("iam", "CreateRole", {"RoleName": "sqs-drain", "AssumeRolePolicyDocument": document}, name)
    elif name.endswith("-queue-policy.json"):
        request = {"QueueUrl": "https://example", "Attributes": {"Policy": document}}
        check("sqs", "SetQueueAttributes", request, name)
    else:
        request = {"RoleName": "sqs-drain", "PolicyName": "drain", "PolicyDocument": document}
        check("iam", "PutRolePolicy", request, name)


@pytest.mark.parametrize("name", ["schedule.json", "schedule-array.json"])
def test_what_the_schedule_submits(name):
    """A universal target's input is the target's own request, its fields spelt with a capital."""
    schedule = load(name)
    assert schedule["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:batch:submitJob"
    request = json.loads(schedule["Target"]["Input"])
    check("batch", "SubmitJob", uncapitalised(request), name)
    definition = {"schedule.json": "batch-job.json", "schedule-array.json": "batch-array-job.json"}[name]
    assert request["JobDefinition"] == load(definition)["jobDefinitionName"]
    assert request["JobQueue"] == load("batch-job-queue.json")["jobQueueName"]


def uncapitalised(value):
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: uncapitalised(inner) for key, inner in value.items()}
    return value


def test_a_wrong_file_is_seen():
    """The check itself: an unknown field, a missing one, a wrong word."""
    wrong = load("batch-job.json")
    wrong["retryStrategy"]["evaluateOnExit"][0]["onExitcode"] = "1"
    with pytest.raises(AssertionError):
        check("batch", "RegisterJobDefinition", wrong, "wrong")
    wrong = load("batch-job.json")
    del wrong["jobDefinitionName"]
    with pytest.raises(AssertionError):
        check("batch", "RegisterJobDefinition", wrong, "wrong")
    wrong = load("schedule.json")
    wrong["FlexibleTimeWindow"]["Mode"] = "OF"
    with pytest.raises(AssertionError):
        check("scheduler", "CreateSchedule", wrong, "wrong")


def test_the_definitions_agree():
    """One worker, three ways to run it: same image, settings and limits wherever the format lets them be the same."""
    single, array, task = load("batch-job.json"), load("batch-array-job.json"), load("ecs-task.json")
    (container,) = task["containerDefinitions"]
    for other in (array["containerProperties"], container):
        for field in ("image", "command", "environment", "secrets", "readonlyRootFilesystem"):
            assert other[field] == single["containerProperties"][field], field
    assert array["retryStrategy"] == single["retryStrategy"] and array["timeout"] == single["timeout"]
    sizes = {entry["type"]: entry["value"] for entry in single["containerProperties"]["resourceRequirements"]}
    assert int(task["cpu"]) == float(sizes["VCPU"]) * 1024 and task["memory"] == sizes["MEMORY"]
