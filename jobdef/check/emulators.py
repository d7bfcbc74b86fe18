"""Two CloudFormation emulators on loopback, because neither has every resource type of the stack: moto makes the Batch
resources, ministack the schedules, alarms and metric filters. What both have, both make."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import boto3
from botocore.config import Config
from files import REGION

BIN = pathlib.Path(sys.executable).parent


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def client(service, url):
    """A boto3 client that can only ever reach `url`."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="check",
        aws_secret_access_key="check",
        config=Config(retries={"max_attempts": 1}),
    )


@contextlib.contextmanager
def process(command, url, ready, log, env=None):
    """Runs a server until the block ends. `ready` says by calling it whether it answers; two minutes at most."""
    with open(log, "wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
    try:
        deadline = time.monotonic() + 120
        while True:
            if server.poll() is not None:
                raise RuntimeError(f"{command[0]} ended at once:\n{pathlib.Path(log).read_text()[-2000:]}")
            with contextlib.suppress(Exception):
                ready()
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer:\n{pathlib.Path(log).read_text()[-2000:]}")
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextlib.contextmanager
def moto(directory):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with process(command, url, lambda: client("sqs", url).list_queues(), directory / "moto.log"):
        # Jobs are not run by moto (it would want Docker); run_as_batch.py runs them.
        request = urllib.request.Request(
            f"{url}/moto-api/config", b'{"batch": {"use_docker": false}}', {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).read()
        yield url


@contextlib.contextmanager
def ministack(directory):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "MINISTACK_HOST": "127.0.0.1"}
    with process([BIN / "ministack"], url, lambda: client("sqs", url).list_queues(), directory / "ministack.log", env):
        yield url


def network(url):
    """A subnet and a security group, the two things that the stack takes as given."""
    ec2 = client("ec2", url)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="sqs-drain", Description="sqs-drain", VpcId=vpc)["GroupId"]
    return {"SubnetIds": subnet, "SecurityGroupIds": group}


def create(url, name, body, parameters):
    """Creates a stack and waits for it. Gives its resources, logical id -> physical id, and its outputs."""
    cloudformation = client("cloudformation", url)
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=body,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    deadline = time.monotonic() + 60
    while True:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS") or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        failed = [(e["LogicalResourceId"], e.get("ResourceStatusReason")) for e in events if "FAILED" in e["ResourceStatus"]]
        raise AssertionError(f"{name}: {stack['StackStatus']}: {failed}")
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    made = {
        entry["LogicalResourceId"]: entry["PhysicalResourceId"]
        for page in pages
        for entry in page["StackResourceSummaries"]
        if entry.get("LogicalResourceId") and entry.get("PhysicalResourceId")
    }
    return made, {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
