"""The stack: clean by cfn-lint, created in emulators, read back, and the same thing as the plain JSON files."""

import copy
import json
import os
import pathlib
import re

import emulators
import pytest
from files import ACCOUNT, REGION, STACK, cfn_lint, conditions, load, template, without_no_value

# What each emulator's CloudFormation cannot make. The other one can, but for the composite alarm.
MOTO_LACKS = {
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::Logs::MetricFilter",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::Scheduler::Schedule",
}
MINISTACK_LACKS = {
    "AWS::Batch::ComputeEnvironment",
    "AWS::Batch::JobDefinition",
    "AWS::Batch::JobQueue",
    "AWS::CloudWatch::CompositeAlarm",
}
EVERYTHING = {
    "CreateQueues": "true",
    "HoldQueueName": "all-held",
    "WaitQueueName": "all-wait",
    "DestinationQueueName": "all-schedule",
    "RejectQueueName": "all-rejected",
    "QueueKmsKeyArn": f"arn:aws:kms:{REGION}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "SlackWebhookSecretArn": f"arn:aws:secretsmanager:{REGION}:123456789012:secret:sqs-drain/slack-webhook-AbCdEf",
    "AlarmEmail": "on-call@example.org",
    "Rate": "500",
    "StartWithin": "2h",
    "Delivery": "at-most-once",
    "Days": "weekdays",
}
# Stack -> its parameters. The first is what the JSON files describe.
VARIANTS = {
    "sqs-drain": {"Compute": "batch"},
    "array": {"Compute": "batch", "Shards": "4", **EVERYTHING},
    "on-ecs": {"Compute": "ecs", "EcsTasks": "2"},
}


class Made:
    """One variant, in both emulators."""

    def __init__(self, name, moto, ministack):
        self.name, self.moto_url, self.ministack_url = name, moto, ministack
        parameters = {"ImageTag": "0.1.0", **VARIANTS[name]}
        self.moto, self.outputs = self._in_moto(parameters)
        self.ministack, _ = self._in_ministack(parameters)

    def _in_moto(self, parameters):
        # moto leaves a null in a list where AWS leaves nothing.
        body = template()
        body["Resources"] = without_no_value(body["Resources"], conditions(body, parameters))
        # AWS uses its service-linked role when none is named; moto wants one named.
        iam = emulators.client("iam", self.moto_url)
        trust = json.dumps(load("iam/task-trust.json"))
        role = iam.create_role(RoleName=f"{self.name}-batch-service", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        for resource in body["Resources"].values():
            if resource["Type"] == "AWS::Batch::ComputeEnvironment":
                resource["Properties"]["ServiceRole"] = role
            if resource["Type"] == "AWS::Batch::JobDefinition":
                # moto looks for the time-out under a name that CloudFormation does not use.
                resource["Properties"]["timeout"] = resource["Properties"]["Timeout"]
        return emulators.create(self.moto_url, self.name, json.dumps(body), {**parameters, **self.network(self.moto_url)})

    def _in_ministack(self, parameters):
        """Without the types that it lacks; what refers to one of those refers to what moto made instead."""
        body = template()
        gone = {key for key, resource in body["Resources"].items() if resource["Type"] in MINISTACK_LACKS}
        body["Resources"] = {key: value for key, value in body["Resources"].items() if key not in gone}
        body["Outputs"] = {key: value for key, value in body["Outputs"].items() if value["Value"].get("Ref") not in gone}
        body = point_at(body, {key: self.moto.get(key, f"no-{key}") for key in gone})
        return emulators.create(
            self.ministack_url, self.name, json.dumps(body), {**parameters, **self.network(self.ministack_url)}
        )

    _networks = {}

    def network(self, url):
        if url not in self._networks:
            self._networks[url] = emulators.network(url)
        return self._networks[url]

    def at_moto(self, service):
        return emulators.client(service, self.moto_url)

    def at_ministack(self, service):
        return emulators.client(service, self.ministack_url)


def point_at(value, places):
    """`value` with `{"Ref": name}` and `${name}` replaced, for every name in `places`."""
    if isinstance(value, dict):
        if set(value) == {"Ref"} and value["Ref"] in places:
            return places[value["Ref"]]
        return {key: point_at(inner, places) for key, inner in value.items()}
    if isinstance(value, list):
        return [point_at(inner, places) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda match: places.get(match[1], match[0]), value)
    return value


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("emulators")
    with emulators.moto(directory) as moto, emulators.ministack(directory) as ministack:
        yield moto, ministack


@pytest.fixture(scope="session")
def made(servers):
    return {name: Made(name, *servers) for name in VARIANTS}


def resources_of(name):
    """Logical id -> type, of what the variant's conditions ask for."""
    body = template()
    holding = conditions(body, VARIANTS[name])
    return {
        key: resource["Type"]
        for key, resource in body["Resources"].items()
        if "Condition" not in resource or holding[resource["Condition"]]
    }


def test_cfn_lint_finds_nothing():
    assert cfn_lint("--", str(STACK)) == ""


@pytest.mark.parametrize("name", VARIANTS)
def test_every_resource_is_made(made, name):
    stack = made[name]
    for key, kind in resources_of(name).items():
        if kind not in MOTO_LACKS:
            assert key in stack.moto, f"moto made no {key}"
        if kind not in MINISTACK_LACKS:
            assert key in stack.ministack, f"ministack made no {key}"
    # And nothing that the conditions leave out.
    assert set(stack.ministack) <= set(resources_of(name))


def normal(value, stack):
    """What an emulator gives, with its account and its generated names replaced by the placeholders of the JSON files."""
    text = json.dumps(value, default=str)
    for key, placeholder in {
        "TaskRole": "sqs-drain-task",
        "ExecutionRole": "sqs-drain-execution",
        "SchedulerRole": "sqs-drain-scheduler",
        "CheckpointTable": "sqs-drain",
        "ScheduleDeadLetters": "sqs-drain-schedule-dead-letters",
    }.items():
        for physical in (stack.moto.get(key), stack.ministack.get(key)):
            if physical:
                text = text.replace(physical.rsplit("/", 1)[-1], placeholder)
    text = text.replace("123456789012", ACCOUNT).replace("000000000000", ACCOUNT)
    for url in (stack.moto_url, stack.ministack_url):
        text = text.replace(stack.network(url)["SubnetIds"], "subnet-0123456789abcdef0")
        text = text.replace(stack.network(url)["SecurityGroupIds"], "sg-0123456789abcdef0")
    return json.loads(text)


def within(small, large, at=""):
    """Everything in `small` stands in `large` the same way. Lists of name/value pairs may be in another order."""
    if isinstance(small, dict):
        for key, inner in small.items():
            assert key in large, f"{at}.{key} is missing"
            within(inner, large[key], f"{at}.{key}")
    elif isinstance(small, list):
        assert len(small) == len(large), f"{at}: {small} is not {large}"
        order = lambda entry: json.dumps(entry, sort_keys=True)  # noqa: E731
        for index, pair in enumerate(zip(sorted(small, key=order), sorted(large, key=order))):
            within(*pair, f"{at}[{index}]")
    else:
        assert str(small) == str(large), f"{at}: {small!r} is not {large!r}"


def job_definition(stack, name):
    found = stack.at_moto("batch").describe_job_definitions(jobDefinitionName=name, status="ACTIVE")["jobDefinitions"]
    assert len(found) == 1
    return found[0]


def test_job_definitions_are_the_json_files(made):
    stack = made["sqs-drain"]
    for name, file in (("sqs-drain", "batch-job.json"), ("sqs-drain-array", "batch-array-job.json")):
        found = normal(job_definition(stack, name), stack)
        wanted = copy.deepcopy(load(file))
        # Batch takes the action in either case, and moto keeps it in lower case.
        for rule in wanted["retryStrategy"]["evaluateOnExit"]:
            rule["action"] = rule["action"].lower()
        # moto's CloudFormation drops these two; they are compared in the template itself.
        for field in ("platformCapabilities", "propagateTags"):
            del wanted[field]
        within(wanted, found)
    for key in ("JobDefinition", "ArrayJobDefinition"):
        properties = template()["Resources"][key]["Properties"]
        assert properties["PlatformCapabilities"] == ["FARGATE"] and properties["PropagateTags"] is True


def test_job_queue_and_compute_environment(made):
    stack = made["sqs-drain"]
    batch = stack.at_moto("batch")
    (queue,) = batch.describe_job_queues(jobQueues=[stack.moto["JobQueue"]])["jobQueues"]
    (environment,) = batch.describe_compute_environments()["computeEnvironments"][:1]
    wanted = load("batch-compute-environment.json")
    assert queue["state"] == "ENABLED" and queue["priority"] == load("batch-job-queue.json")["priority"]
    assert queue["computeEnvironmentOrder"][0]["computeEnvironment"] == stack.moto["ComputeEnvironment"]
    found = normal(environment, stack)["computeResources"]
    within(wanted["computeResources"], found)


def test_task_definition_is_the_json_file(made):
    stack = made["on-ecs"]
    for ecs, arn in (
        (stack.at_moto("ecs"), stack.moto["TaskDefinition"]),
        (stack.at_ministack("ecs"), stack.ministack["TaskDefinition"]),
    ):
        found = normal(ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"], stack)
        wanted = load("ecs-task.json")
        wanted["family"] = "on-ecs"
        wanted["containerDefinitions"][0]["logConfiguration"]["options"]["awslogs-group"] = "/sqs-drain/on-ecs"
        if ecs.meta.endpoint_url == stack.moto_url:
            wanted = {"containerDefinitions": wanted["containerDefinitions"]}  # all that moto's CloudFormation keeps
        elif "runtimePlatform" not in found:
            del wanted["runtimePlatform"]  # ministack does not give it back; cfn-lint has looked at it
        if "secrets" not in found["containerDefinitions"][0]:
            del wanted["containerDefinitions"][0]["secrets"]
        within(wanted, found)


def schedule(stack, key):
    return stack.at_ministack("scheduler").get_schedule(Name=stack.ministack[key])


def test_schedules(made):
    for name, file in (("sqs-drain", "schedule.json"), ("on-ecs", "schedule-ecs.json")):
        stack = made[name]
        found = normal(schedule(stack, "Schedule"), stack)
        wanted = load(file)
        for field in ("Name", "Description"):
            del wanted[field]
        # ministack's CloudFormation drops the zone; the template has it.
        assert wanted.pop("ScheduleExpressionTimezone") == template()["Parameters"]["Zone"]["Default"]
        if name == "on-ecs":
            assert wanted["Target"]["EcsParameters"].pop("TaskCount") == 1
            assert int(found["Target"]["EcsParameters"].pop("TaskCount")) == 2
            for side in (wanted, found):
                assert side["Target"].pop("Arn").startswith("arn:aws:ecs:")
                assert side["Target"]["EcsParameters"].pop("TaskDefinitionArn").startswith("arn:aws:ecs:")
            # CloudFormation spells this one with a capital, and ministack does not turn it into the API's.
            network = wanted["Target"]["EcsParameters"].pop("NetworkConfiguration")["awsvpcConfiguration"]
            target = template()["Resources"]["Schedule"]["Properties"]["Target"]["Fn::If"][2]
            assert set(target["EcsParameters"]["NetworkConfiguration"]["AwsvpcConfiguration"]) == set(network)
        else:
            for side in (wanted, found):
                side["Target"]["Input"] = sorted(json.loads(side["Target"]["Input"]))
        within(wanted, found)
    deadline = schedule(made["array"], "StartDeadline")
    assert deadline["ScheduleExpression"] == "cron(15 8 ? * MON-FRI *)"
    assert deadline["FlexibleTimeWindow"] == {"Mode": "OFF"}
    for key in ("Schedule", "StartDeadline"):
        assert template()["Resources"][key]["Properties"]["ScheduleExpressionTimezone"] == {"Ref": "Zone"}


@pytest.mark.parametrize(("name", "size"), [("sqs-drain", None), ("array", 4)])
def test_what_the_schedule_submits_is_accepted(made, name, size):
    """The input found in the schedule, sent to the job queue as the scheduler would."""
    stack = made[name]
    request = json.loads(schedule(stack, "Schedule")["Target"]["Input"])
    batch = stack.at_moto("batch")
    # moto's answer to an array lacks a field that its own model wants, so the size goes without.
    assert request.pop("ArrayProperties", None) == (size and {"Size": size})
    job = batch.submit_job(**{key[0].lower() + key[1:]: value for key, value in request.items()})
    (found,) = batch.describe_jobs(jobs=[job["jobId"]])["jobs"]
    assert found["jobDefinition"] == stack.moto["ArrayJobDefinition" if size else "JobDefinition"]


def policy(stack, role):
    iam = stack.at_ministack("iam")
    name = stack.ministack[role].rsplit("/", 1)[-1]
    (only,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    return iam.get_role_policy(RoleName=name, PolicyName=only)["PolicyDocument"]


def statements(document):
    as_list = lambda value: sorted(value) if isinstance(value, list) else [value]  # noqa: E731
    return {
        entry["Sid"]: (as_list(entry["Action"]), as_list(entry["Resource"]), entry.get("Condition"))
        for entry in document["Statement"]
    }


def test_roles_are_the_json_files(made):
    stack = made["sqs-drain"]
    found = statements(normal(policy(stack, "TaskRole"), stack))
    assert found == statements(load("iam/task-policy.json"))
    found = statements(normal(policy(stack, "ExecutionRole"), stack))
    assert found == statements(load("iam/execution-policy.json"))
    found = statements(normal(policy(stack, "SchedulerRole"), stack))
    mark = found.pop("MarkStartDeadline")
    assert mark == (["cloudwatch:PutMetricData"], ["*"], {"StringEquals": {"cloudwatch:namespace": "sqs-drain/sqs-drain"}})
    wanted = statements(load("iam/scheduler-policy.json"))
    assert found["KeepWhatCouldNotBeStarted"] == wanted["KeepWhatCouldNotBeStarted"]
    assert found["SubmitJob"][0] == wanted["SubmitJob"][0]
    # The stack submits by ARN with a revision, the files by name as well.
    tails = lambda entry: {arn.split(":", 5)[5] for arn in entry[1] if "job-definition" in arn}  # noqa: E731
    assert tails(found["SubmitJob"]) == {tail for tail in tails(wanted["SubmitJob"]) if tail.endswith(":*")}


def test_roles_with_everything(made):
    stack = made["array"]
    found = statements(policy(stack, "TaskRole"))
    actions, _, condition = statements(load("iam/kms-policy.json"))["UseQueueKey"]
    assert found["UseQueueKey"] == (actions, [EVERYTHING["QueueKmsKeyArn"]], condition)
    assert [arn.rsplit(":", 1)[-1] for arn in found["PutIntoDestination"][1]] == ["all-held", "all-rejected", "all-schedule"]
    found = statements(policy(stack, "ExecutionRole"))
    actions = statements(load("iam/webhook-policy.json"))["ReadWebhook"][0]
    assert found["ReadWebhook"] == (actions, [EVERYTHING["SlackWebhookSecretArn"]], None)


@pytest.mark.parametrize("name", VARIANTS)
def test_table(made, name):
    """One table as `sqs-drain init` makes it: on demand, pk and sk, TTL on expires_at, point-in-time recovery."""
    stack = made[name]
    for dynamodb, table in (
        (stack.at_moto("dynamodb"), stack.moto["CheckpointTable"]),
        (stack.at_ministack("dynamodb"), stack.ministack["CheckpointTable"]),
    ):
        found = dynamodb.describe_table(TableName=table)["Table"]
        assert {entry["AttributeName"]: entry["KeyType"] for entry in found["KeySchema"]} == {"pk": "HASH", "sk": "RANGE"}
        assert {entry["AttributeType"] for entry in found["AttributeDefinitions"]} == {"S"}
        assert found["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    # Neither emulator's CloudFormation knows these two.
    properties = template()["Resources"]["CheckpointTable"]["Properties"]
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_queues_when_asked_for(made):
    stack = made["array"]
    sqs = stack.at_moto("sqs")
    for name in ("all-wait", "all-schedule", "all-rejected", "all-held"):
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert attributes["MessageRetentionPeriod"] == "1209600"
        assert "RedrivePolicy" not in attributes


def test_environment_with_everything(made):
    stack = made["array"]
    container = job_definition(stack, "array-array")["containerProperties"]
    environment = {entry["name"]: entry["value"] for entry in container["environment"]}
    assert environment["SQS_DRAIN_WINDOW"] == "mon-fri 08:00-21:00"
    assert environment["SQS_DRAIN_RATE"] == "500"
    assert environment["SQS_DRAIN_HOLD"] == "all-held"
    assert environment["SQS_DRAIN_START_WITHIN"] == "2h"
    assert [entry["name"] for entry in container["secrets"]] == ["SQS_DRAIN_SLACK_WEBHOOK"]
    assert "SQS_DRAIN_SLACK_WEBHOOK" not in environment, "the webhook comes from the secret only"


def test_who_is_told(made):
    for name, stack in made.items():
        topic = stack.ministack["Topic"]
        alarms = stack.at_ministack("cloudwatch").describe_alarms(AlarmNamePrefix=f"{name}-")["MetricAlarms"]
        told = {alarm["AlarmName"].removeprefix(f"{name}-") for alarm in alarms if topic in alarm.get("AlarmActions", [])}
        wanted = {"oldest-message", "rejected-messages", "schedule-failed"} | ({"held-messages"} if name == "array" else set())
        assert told == wanted
        rule = "TaskFailed" if name == "on-ecs" else "JobFailed"
        events = stack.at_ministack("events")
        found = events.describe_rule(Name=stack.ministack[rule].rsplit("/", 1)[-1])
        pattern = json.loads(found["EventPattern"])
        (target,) = events.list_targets_by_rule(Rule=found["Name"])["Targets"]
        assert target["Arn"] == topic
        if rule == "JobFailed":
            assert pattern["detail"]["status"] == ["FAILED"] and pattern["detail"]["jobQueue"] == [stack.moto["JobQueue"]]
    (subscription,) = made["array"].at_ministack("sns").list_subscriptions_by_topic(
        TopicArn=made["array"].ministack["Topic"]
    )["Subscriptions"]
    assert subscription["Endpoint"] == "on-call@example.org"


def test_no_run_started(made):
    """The composite alarm, which no emulator's CloudFormation makes, made through the service's own API: its rule names the
    two alarms that are there, and it alone tells anybody."""
    stack = made["sqs-drain"]
    properties = template()["Resources"]["NoRunStarted"]["Properties"]
    rule = properties["AlarmRule"]["Fn::Sub"]
    named = re.findall(r"\$\{(\w+)\}", rule)
    assert named == ["StartDeadlinePassed", "RunStartedLately"]
    for key in named:
        rule = rule.replace(f"${{{key}}}", stack.ministack[key])
    cloudwatch = stack.at_ministack("cloudwatch")
    cloudwatch.put_composite_alarm(
        AlarmName="sqs-drain-no-run-started", AlarmRule=rule, AlarmActions=[stack.ministack["Topic"]]
    )
    found = {alarm["AlarmName"]: alarm for alarm in cloudwatch.describe_alarms(AlarmNamePrefix="sqs-drain-")["MetricAlarms"]}
    for key in named:
        assert found[stack.ministack[key]].get("AlarmActions", []) == []
    # The mark that the second schedule writes, and what the log filter counts, are the metrics that the alarms look at.
    mark = json.loads(schedule(stack, "StartDeadline")["Target"]["Input"])
    watched = found[stack.ministack["StartDeadlinePassed"]]
    assert (mark["Namespace"], mark["MetricData"][0]["MetricName"]) == (watched["Namespace"], watched["MetricName"])
    cloudwatch.put_metric_data(**mark)
    filters = stack.at_ministack("logs").describe_metric_filters(logGroupName="/sqs-drain/sqs-drain")["metricFilters"]
    (transformation,) = filters[0]["metricTransformations"]
    watched = found[stack.ministack["RunStartedLately"]]
    assert (transformation["metricNamespace"], transformation["metricName"]) == (watched["Namespace"], watched["MetricName"])
    # A start must still be in its window when the mark is looked at: longer than from opening to the mark and its own.
    assert watched["Period"] * watched["EvaluationPeriods"] >= 15 * 60 + 5 * 60 + 10 * 60


def test_timings_agree():
    """The job's time-out outlives the window by a little, and stopping outlives the worker's grace (25 s)."""
    for name in ("batch-job.json", "batch-array-job.json"):
        definition = load(name)
        environment = {entry["name"]: entry["value"] for entry in definition["containerProperties"]["environment"]}
        opens, closes = (int(clock[:2]) * 60 + int(clock[3:]) for clock in environment["SQS_DRAIN_WINDOW"].split("-"))
        window = (closes - opens) % (24 * 60) * 60
        assert window < definition["timeout"]["attemptDurationSeconds"] <= window + 15 * 60
    (container,) = load("ecs-task.json")["containerDefinitions"]
    assert container["stopTimeout"] >= 30
    parameters = template()["Parameters"]
    assert parameters["JobTimeoutSeconds"]["Default"] == load("batch-job.json")["timeout"]["attemptDurationSeconds"]


def test_definitions_are_written_down(made):
    """Leaves the definitions found in the emulator for run_as_batch.py, when a place for them is named."""
    place = os.environ.get("JOBDEF_FOUND")
    found = {}
    for name, definition in (("sqs-drain", "sqs-drain"), ("array", "array-array")):
        found[name] = job_definition(made[name], definition)
        assert found[name]["containerProperties"]["command"] == ["run"]
    if place:
        pathlib.Path(place).write_text(json.dumps(found, indent=2, default=str))
