"""The commands of jobdef/README.md (and the deployment section of the project's README): every one read by the AWS command
line itself and carried out against an emulator; docker's compared with the Dockerfile; figures worked out again."""

import os
import re
import shlex
import subprocess

import emulators
import pytest
from files import JOBDEF, REPO, load, template

README = JOBDEF / "README.md"
# What one message takes at the defaults, as the page says; test_run.py counts it.
SQS_REQUESTS = 0.303
WRITE_UNITS = 0.043


def commands(path, section=None):
    """The commands of the `sh` blocks of a page, continuation lines joined."""
    text = path.read_text()
    if section:
        text = re.search(rf"(?ms)^## {section}\n(.*?)(?=^## |\Z)", text)[1]
    found = []
    for block in re.findall(r"(?ms)^```sh\n(.*?)^```", text):
        found += [line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    return found


def deployment_pages():
    """Where the deployment commands stand: here, and in the project's README once it has such a section."""
    pages = [(README, "Deploy")]
    main = REPO / "README.md"
    if main.exists() and "\n## Deploy\n" in main.read_text():
        pages.append((main, "Deploy"))
    return pages


@pytest.fixture(scope="module")
def ministack(tmp_path_factory):
    with emulators.ministack(tmp_path_factory.mktemp("readme")) as url:
        emulators.network(url)
        yield url


def aws(words, url):
    env = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "check",
        "AWS_SECRET_ACCESS_KEY": "check",
        "AWS_DEFAULT_REGION": "ap-northeast-2",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_PAGER": "",
    }
    # By flag: the command line's `sqs` does not look at AWS_ENDPOINT_URL.
    words = [emulators.BIN / words[0], "--endpoint-url", url, *words[1:]]
    return subprocess.run(words, cwd=REPO, env=env, capture_output=True, text=True, timeout=120)


def in_order(found):
    """What needs something made further down the page goes last: starting a job by hand, before the page says how to make
    one without CloudFormation."""
    late = [line for line in found if " submit-job " in line or " run-task " in line]
    return [line for line in found if line not in late] + late


def test_every_aws_command_runs(ministack):
    ran = 0
    for line in in_order(commands(README)):
        line = line.split(" | ")[0]
        if not line.startswith("aws ") or " cloudformation deploy " in line:
            continue
        done = aws(shlex.split(line), ministack)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        ran += 1
    assert ran > 20


def test_deployment_is_three_commands():
    for path, section in deployment_pages():
        found = [line for line in commands(path, section) if "create-repository" not in line and "get-login-password" not in line]
        assert [line.split()[0] for line in found] == ["docker", "docker", "aws"], path
        build, push, deploy = (shlex.split(line) for line in found)
        check_docker(build, push)
        check_deploy(deploy)


def check_docker(build, push):
    dockerfile = (REPO / "Dockerfile").read_text()
    assert build[:2] == ["docker", "build"] and build[-1] == "."
    flags = dict(zip(build[2:-1:2], build[3:-1:2]))
    assert set(flags) == {"--build-arg", "--tag"}
    argument = flags["--build-arg"].split("=")[0]
    assert re.search(rf"(?m)^ARG {argument}\b", dockerfile)
    assert push == ["docker", "push", flags["--tag"]]


def check_deploy(words):
    """Read by the AWS command line's own table of arguments, and its overrides by the stack's own parameters."""
    from awscli.customizations.cloudformation.deploy import DeployCommand

    assert words[:3] == ["aws", "cloudformation", "deploy"]
    known = {argument["name"] for argument in DeployCommand.ARG_TABLE}
    flags = [word for word in words if word.startswith("--")]
    assert {flag.removeprefix("--") for flag in flags} <= known
    at = words.index("--template-file")
    assert (REPO / words[at + 1]).samefile(JOBDEF / "stack.yaml")
    assert words[words.index("--capabilities") + 1] == "CAPABILITY_IAM"
    # Without an S3 bucket the template travels in the request.
    assert (JOBDEF / "stack.yaml").stat().st_size < 51_200
    parameters = template()["Parameters"]
    overrides = dict(word.split("=", 1) for word in words[words.index("--parameter-overrides") + 1 :])
    for name, value in overrides.items():
        assert name in parameters, name
        if "AllowedPattern" in parameters[name]:
            assert re.search(parameters[name]["AllowedPattern"], value), name
    # Whatever has no default must be said.
    assert {name for name, parameter in parameters.items() if "Default" not in parameter} <= set(overrides)
    # The tag that is pushed is the one that is run.
    assert any(f":{overrides['ImageTag']}" in line for line in commands(README, "Deploy"))


def test_the_parameters_named_are_there():
    parameters = template()["Parameters"]
    table = README.read_text().split("What is worth setting")[1].split("\n\n")[1]
    named = re.findall(r"`([A-Z][A-Za-z]+)`(?=[,| ])", table)
    assert len(named) > 15
    for name in named:
        assert name in parameters, name
    assert parameters["JobTimeoutSeconds"]["Default"] == 47400


def test_every_file_is_named():
    text = README.read_text()
    for path in [*JOBDEF.glob("*.json"), *JOBDEF.glob("iam/*.json")]:
        assert path.name in text, path.name


def test_exit_codes_of_the_page_are_those_of_the_rules():
    """The table says of 1 to 5 that they fail at once and of 6 and 7 that they are retried; so do the rules."""
    rows = re.findall(r"(?m)^\| (\d) [^|]*\| ([^|]*) \|", README.read_text())
    page = {int(code): verdict.strip() for code, verdict in rows}
    ends = {int(rule["onExitCode"]) for rule in load("batch-job.json")["retryStrategy"]["evaluateOnExit"]}
    assert sorted(page) == list(range(8))
    assert {code for code, verdict in page.items() if verdict == "fails at once"} == ends
    assert {code for code, verdict in page.items() if verdict == "retried"} == {6, 7}


def test_the_cost_adds_up():
    text = README.read_text()
    requests, units, seconds = SQS_REQUESTS * 1e6, WRITE_UNITS * 1e6, 1e6 / 500
    sqs = requests / 1e6 * 0.40
    dynamodb = units / 1e6 * 0.625
    vcpu, memory = seconds / 3600 * 0.25, seconds / 3600 * 0.5
    fargate = vcpu * 0.04048 + memory * 0.004445
    alarms = [entry["Type"] for entry in template()["Resources"].values() if "Alarm" in entry["Type"]]
    single = alarms.count("AWS::CloudWatch::Alarm")
    assert len(alarms) - single == 1, "one composite alarm"
    for figure in (
        f"{SQS_REQUESTS} SQS requests",
        f"{WRITE_UNITS}\nwrite units",
        f"{requests:,.0f}",
        f"${sqs:.3f}",
        f"{units:,.0f}",
        f"${dynamodb:.3f}",
        f"{seconds:,.0f} s",
        f"{vcpu:.3f} vCPU-hours, {memory:.3f} GB-hours",
        f"${fargate:.3f}",
        f"**${sqs + dynamodb + fargate:.2f}**",
        f"${1.2 * 0.40:.2f}",
        f"{single} alarms at $0.10",
    ):
        assert figure in text, figure


def test_the_permissions_of_the_project_page_are_the_policies():
    """The README's table of permissions, row by row."""
    section = (REPO / "README.md").read_text().split("## IAM permissions")[1].split("\n## ")[0]
    rows = [row.split("|") for row in section.splitlines() if row.startswith("| ") and "`" in row]

    def actions(text):
        names = re.findall(r"`([\w:]+)`", text)
        prefix = names[0].split(":")[0]
        return {name if ":" in name else f"{prefix}:{name}" for name in names}

    page = [actions(row[2]) for row in rows]
    task = load("iam/task-policy.json")["Statement"]
    (init,) = load("iam/init-policy.json")["Statement"]
    (hold,) = load("iam/hold-policy.json")["Statement"]
    source, destinations, table = (set(statement["Action"]) for statement in task)
    assert set(hold["Action"]) == destinations
    assert page[:3] == [source, destinations, table]
    (settle,) = load("iam/settle-policy.json")["Statement"]
    assert page[3] == set(settle["Action"])
    # `init` reads the table as the worker does, and has its own three.
    assert page[4] == set(init["Action"]) - table
    assert len(page) == 5
