"""The IAM documents: actions that exist, resources that are narrow, nothing that was never meant."""

import json

import botocore.session
import pytest
from files import ACCOUNT, JOBDEF, cfn_lint, load

POLICIES = sorted(path.relative_to(JOBDEF).as_posix() for path in (JOBDEF / "iam").glob("*-policy.json"))
TRUSTS = sorted(path.relative_to(JOBDEF).as_posix() for path in (JOBDEF / "iam").glob("*-trust.json"))

# The only statements on "*", because the action takes no resource.
WITHOUT_RESOURCE = {"ecr:GetAuthorizationToken"}
# Permissions that are no API call of their own.
NO_CALL = {"iam:PassRole"}


def listed(value):
    return value if isinstance(value, list) else [value]


def statements(name):
    return load(name)["Statement"]


@pytest.mark.parametrize("name", POLICIES)
def test_actions_exist(name):
    session = botocore.session.get_session()
    for statement in statements(name):
        assert statement["Effect"] == "Allow"
        for action in listed(statement["Action"]):
            service, call = action.split(":")
            if action in NO_CALL:
                continue
            assert call in session.get_service_model(service).operation_names, action


@pytest.mark.parametrize("name", POLICIES)
def test_resources_are_narrow(name):
    for statement in statements(name):
        for resource in listed(statement["Resource"]):
            if resource == "*":
                assert set(listed(statement["Action"])) <= WITHOUT_RESOURCE, statement["Sid"]
                continue
            partition, service, region, account, rest = resource.split(":", 5)[1:]
            assert partition == "aws" and account in (ACCOUNT, "444455556666"), resource
            # What follows a revision, a log stream or a secret's random suffix is all that may be open.
            assert "*" not in service + region + account, resource
            assert rest.rstrip("*").rstrip("?").endswith((":", "-")) or not set("*?") & set(rest), resource
            for action in listed(statement["Action"]):
                if action != "iam:PassRole":
                    assert action.split(":")[0] == service, f"{action} on {resource}"


@pytest.mark.parametrize("name", TRUSTS)
def test_trust(name):
    (statement,) = statements(name)
    assert statement["Action"] == "sts:AssumeRole"
    service = {"scheduler": "scheduler.amazonaws.com"}.get(name.split("/")[1].split("-")[0], "ecs-tasks.amazonaws.com")
    assert statement["Principal"] == {"Service": service}


def test_the_two_halves_of_another_accounts_queue_agree():
    """The role may, and the queue over there lets it: the same actions on the same queue, what a destination needs and no more."""
    (role,), (queue,) = statements("iam/cross-account-task-policy.json"), statements("iam/cross-account-queue-policy.json")
    assert set(role["Action"]) == set(queue["Action"]) == set(statements("iam/task-policy.json")[1]["Action"])
    assert role["Resource"] == queue["Resource"] and f":{ACCOUNT}:" not in role["Resource"]
    assert queue["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:role/{load('batch-job.json')['containerProperties']['jobRoleArn'].split('/')[1]}"}


def test_the_key_is_used_through_the_queue_only():
    """SQS asks the key on the caller's behalf: to receive, Decrypt; to send, GenerateDataKey and Decrypt. By no other way."""
    (statement,) = statements("iam/kms-policy.json")
    assert set(statement["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}
    region = statement["Resource"].split(":")[3]
    assert statement["Condition"] == {"StringEquals": {"kms:ViaService": f"sqs.{region}.amazonaws.com"}}


def test_cfn_lint_knows_every_action_and_condition(tmp_path):
    """cfn-lint carries AWS's own list of IAM actions and the shape of a policy: each document, inside a role."""
    resources = {}
    for index, name in enumerate(POLICIES):
        if name.endswith("-queue-policy.json"):
            resources[f"P{index}"] = {
                "Type": "AWS::SQS::QueuePolicy",
                "Properties": {"Queues": ["https://example"], "PolicyDocument": load(name)},
            }
        else:
            resources[f"P{index}"] = {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "AssumeRolePolicyDocument": load("iam/task-trust.json"),
                    "Policies": [{"PolicyName": "p", "PolicyDocument": load(name)}],
                },
            }
    for index, name in enumerate(TRUSTS):
        resources[f"T{index}"] = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": load(name)}}
    path = tmp_path / "policies.json"

    def lint():
        path.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}))
        # W1: literal ARNs are these files' purpose.
        return cfn_lint("-i", "I", "W1", "--", str(path))

    assert lint() == ""
    # And it does find a word that AWS has never heard of.
    resources["wrong"] = {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": load("iam/task-trust.json"),
            "Policies": [
                {
                    "PolicyName": "p",
                    "PolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessages", "Resource": "*"}],
                    },
                }
            ],
        },
    }
    assert "sendmessages" in lint().lower()
