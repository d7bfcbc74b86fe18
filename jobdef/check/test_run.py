"""The job definition found in the emulator, run as AWS Batch would run it: the real program, from the command and environment of the
definition, against the embedded endpoints, behind an endpoint that enforces iam/task-policy.json; killed, stopped, refused.

Needs SQS_DRAIN_BIN, a binary with the feature `local`. Nothing here waits for a length of time: what is waited for is a state of a
queue, and the program's own end."""

import collections
import json

import emulators
import gate as gates
import pytest
import run_as_batch
from files import ACCOUNT, REGION, conditions, load, template, without_no_value
from test_readme import SQS_REQUESTS, WRITE_UNITS
from world import QUICK, World, endpoints, zone

BIN = run_as_batch.binary()
pytestmark = pytest.mark.skipif(BIN is None, reason="SQS_DRAIN_BIN names no binary with the feature `local`")

@pytest.fixture(scope="module")
def definitions(tmp_path_factory):
    """The definitions as the emulator's Batch describes them: a window that is open now, and one that is shut."""
    found = {}
    with emulators.moto(tmp_path_factory.mktemp("definitions")) as url:
        iam, network = emulators.client("iam", url), emulators.network(url)
        role = iam.create_role(RoleName="batch", AssumeRolePolicyDocument=json.dumps(load("iam/task-trust.json")))["Role"]["Arn"]
        for name, hour in (("open", 13), ("shut", 23)):
            parameters = {"ImageTag": "0.1.0", "Zone": zone(hour), "Rate": "150", **network}
            body = template()
            body["Resources"] = without_no_value(body["Resources"], conditions(body, parameters))
            for resource in body["Resources"].values():
                if resource["Type"] == "AWS::Batch::ComputeEnvironment":
                    resource["Properties"]["ServiceRole"] = role
                if resource["Type"] == "AWS::Batch::JobDefinition":
                    resource["Properties"]["timeout"] = resource["Properties"]["Timeout"]
            emulators.create(url, name, json.dumps(body), parameters)
            for kind in ("", "-array"):
                batch = emulators.client("batch", url)
                (definition,) = batch.describe_job_definitions(jobDefinitionName=name + kind)["jobDefinitions"]
                # The table's name is CloudFormation's; the policies of jobdef/iam speak of one called sqs-drain.
                for entry in definition["containerProperties"]["environment"]:
                    if entry["name"] == "SQS_DRAIN_TABLE":
                        entry["value"] = "sqs-drain"
                found[name + kind] = definition
    return found


class Ledger:
    """What all worlds of this file used together."""

    used = collections.Counter()
    refused = collections.Counter()


@pytest.fixture
def world(tmp_path):
    with endpoints(BIN, tmp_path) as (sqs, dynamodb), gates.standing([load("iam/task-policy.json")], sqs, dynamodb) as (gate, url):
        world = World(BIN, sqs, dynamodb, gate, url, tmp_path)
        world.make_table()
        yield world
        Ledger.used.update(gate.used)
        Ledger.refused.update(gate.refused)


def doubts(job):
    """Ids that a job's attempts called doubtful."""
    return {
        doubt["id"]
        for attempt in job.attempts
        if attempt.result
        for route in attempt.result["routes"].values()
        for doubt in route["doubts"]
    }


def test_a_job_that_nobody_disturbs(world, definitions):
    world.park(1000)
    job = world.job(definitions["open"], SQS_DRAIN_RATE="").run()
    assert (job.status, job.codes()) == ("SUCCEEDED", [0]), job.attempts[-1].log[-5:]
    (route,) = job.attempts[0].result["routes"].values()
    assert (route["total"], route["received"], route["balanced"] if "balanced" in route else True) == (1000, 1000, True)
    assert world.audit() == dict.fromkeys(range(1000), 1)
    # The log lines that the metric filter of the stack looks for.
    events = [event.get("event") for event in job.attempts[0].events()]
    assert events.count("run_started") == 1 and events.count("run_ended") == 1
    pattern = template()["Resources"]["RunsStarted"]["Properties"]["FilterPattern"]
    assert pattern == '{ $.fields.event = "run_started" }'


def test_what_a_message_takes(world, definitions):
    """The figures of the page's cost, counted: requests of SQS, and units of what is written to the table. A smaller backlog than the
    page's, at a slower end, has more heartbeats and looks to a message; a fifth of the page's units is theirs here."""
    count = 8000
    world.park(count)
    world.gate.requests.clear(), world.gate.units.clear()
    # As registered, less the rate.
    job = run_as_batch.Job(definitions["open"], [BIN], world.given, world.place, overrides={"SQS_DRAIN_RATE": ""}).run()
    assert (job.status, job.codes()) == ("SUCCEEDED", [0]), job.attempts[-1].log[-5:]
    calls = world.gate.requests
    sqs = sum(calls[call] for call in ("ReceiveMessage", "SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "GetQueueAttributes"))
    units = sum(world.gate.units[call] for call in ("PutItem", "UpdateItem", "DeleteItem"))
    assert 0.3 <= sqs / count <= SQS_REQUESTS * 1.05, calls
    assert WRITE_UNITS * 0.9 <= units / count <= WRITE_UNITS * 1.2, world.gate.units
    # The program counts the same.
    (route,) = job.attempts[0].result["routes"].values()
    requests = route["requests"]
    assert requests["receive"] == calls["ReceiveMessage"] and requests["send"] == calls["SendMessageBatch"]
    assert requests["dynamodb_write"] == sum(calls[call] for call in ("PutItem", "UpdateItem", "DeleteItem"))


def test_killed_stopped_and_resumed(world, definitions):
    """137 and 6 are retried, and the third attempt finishes: nothing lost, nothing doubled but for the doubts it lists."""
    world.park(1000)

    def meddle(attempt):
        if attempt.number == 1:
            assert world.moved(200)
            attempt.kill()
        if attempt.number == 2:
            assert world.moved(500)
            attempt.stop()

    job = world.job(definitions["open"]).run(meddle)
    assert (job.status, job.codes()) == ("SUCCEEDED", [137, 6, 0]), [attempt.log[-3:] for attempt in job.attempts]
    assert world.depth("wait-queue") == [0, 0, 0]
    found = world.audit()
    assert set(found) == set(range(1000))
    extra = sum(found.values()) - 1000
    assert extra <= len(doubts(job)), f"{extra} copies, doubts {doubts(job)}"


def test_an_array_whose_child_dies(world, definitions):
    """Three children drain one queue as one run; one is killed, Batch starts it again, and all end together with 0."""
    world.park(900)

    def meddle(index, attempt):
        if index == 1 and attempt.number == 1:
            assert world.moved(200)
            attempt.kill()

    children = run_as_batch.array(definitions["open-array"], [BIN], world.given, world.place, 3, QUICK, meddle)
    assert [child.codes() for child in children] == [[0], [137, 0], [0]], [
        [attempt.log[-3:] for attempt in child.attempts] for child in children
    ]
    runs = {route["run_id"] for child in children for route in child.attempts[-1].result["routes"].values()}
    assert len(runs) == 1, "one run"
    found = world.audit()
    assert set(found) == set(range(900))
    listed = set().union(*(doubts(child) for child in children))
    assert sum(found.values()) - 900 <= len(listed)


def test_outside_the_window_is_not_retried(world, definitions):
    world.park(10)
    job = world.job(definitions["shut"]).run()
    assert (job.status, job.codes()) == ("FAILED", [3])
    assert world.depth("wait-queue") == [10, 0, 0]
    assert not any(action == "sqs:ReceiveMessage" for action, _ in world.gate.used)


def test_refused_settings_are_not_retried(world, definitions):
    job = world.job(definitions["open"], SQS_DRAIN_TO="wait-queue").run()
    assert (job.status, job.codes()) == ("FAILED", [2])
    job = world.job(definitions["open"], SQS_DRAIN_VISIBILITY="1s").run()
    assert (job.status, job.codes()) == ("FAILED", [2])


def test_a_message_the_destination_refuses(world, definitions):
    """It goes to the reject queue, and the job ends with 5, which Batch does not retry."""
    world.park(20)
    world.sqs.send_message(QueueUrl=world.urls["wait-queue"], MessageBody=json.dumps({"number": 99, "text": "x" * 5000}))
    job = world.job(definitions["open"]).run()
    assert (job.status, job.codes()) == ("FAILED", [5])
    assert world.audit() == dict.fromkeys(range(20), 1)
    assert world.audit("wait-queue-rejected") == {99: 1}


def test_a_permission_lost_and_given_back(world, definitions):
    """Without sqs:SendMessage the run stops with 7 and loses nothing; the next attempt has it again."""
    world.park(600)
    whole = load("iam/task-policy.json")
    less = json.loads(json.dumps(whole).replace('"sqs:SendMessage", ', ""))
    assert less != whole

    def meddle(attempt):
        if attempt.number == 1:
            assert world.moved(100)
            world.gate.policies = [less]
        else:
            world.gate.policies = [whole]

    job = world.job(definitions["open"], SQS_DRAIN_GRACE="12s").run(meddle)
    assert job.codes() == [7, 0], [attempt.log[-4:] for attempt in job.attempts]
    assert world.gate.refused, "nothing was refused"
    world.gate.refused.clear()
    found = world.audit()
    assert set(found) == set(range(600)) and sum(found.values()) - 600 <= len(doubts(job))


def test_at_most_once_and_its_doubts(world, definitions):
    """With the hold queue's policy added: a killed run's doubts are held, listed, and settled by hand."""
    world.gate.policies = [load("iam/task-policy.json"), load("iam/hold-policy.json")]
    world.park(600)

    def meddle(attempt):
        if attempt.number == 1:
            assert world.moved(200)
            attempt.kill()

    more = {"SQS_DRAIN_DELIVERY": "at-most-once", "SQS_DRAIN_HOLD": "wait-queue-held"}
    job = world.job(definitions["open"], **more).run(meddle)
    assert job.codes()[0] == 137 and job.codes()[-1] in (0, 5), [attempt.log[-3:] for attempt in job.attempts]
    found, held = world.audit(), world.depth("wait-queue-held")[0]
    assert max(found.values()) == 1, "sent twice"
    assert set(found) | set(world.audit("wait-queue-held")) == set(range(600))
    assert (job.codes()[-1] == 5) == (held > 0)


def test_init_needs_its_policy(tmp_path):
    """`init` makes the table with iam/init-policy.json, all of which it uses, and twice is as good as once."""
    with endpoints(BIN, tmp_path) as (sqs, dynamodb), gates.standing([load("iam/init-policy.json")], sqs, dynamodb) as (gate, url):
        world = World(BIN, sqs, dynamodb, gate, url, tmp_path)
        for _ in range(2):
            world.by_hand("init", "--table", "sqs-drain")
        assert gate.refused == {}
        assert gate.allowed_actions() - {action for action, _ in gate.used} == set(), "permissions that init does not use"
        table = emulators.client("dynamodb", dynamodb).describe_table(TableName="sqs-drain")["Table"]
        wanted = template()["Resources"]["CheckpointTable"]["Properties"]
        assert table["KeySchema"] == wanted["KeySchema"] and table["AttributeDefinitions"] == wanted["AttributeDefinitions"]


def test_what_an_operator_does(world, definitions):
    """status, doubts, check, plan, pause, resume and rate need no more than the worker's policy."""
    world.park(600)
    where = ("--table", "sqs-drain", "--from", "wait-queue")

    def meddle(attempt):
        if attempt.number == 1:
            assert world.moved(100)
            world.by_hand("rate", "100", *where)
            world.by_hand("pause", *where)
            world.by_hand("resume", *where)
            attempt.kill()

    job = world.job(definitions["open"]).run(meddle)
    assert (job.status, job.codes()) == ("SUCCEEDED", [137, 0]), [attempt.log[-3:] for attempt in job.attempts]
    status = json.loads(world.by_hand("status", "--json", *where))
    (route,) = status["routes"].values()
    found = world.audit()
    assert set(found) == set(range(600))
    # What was on its way when the process was killed counts as in doubt, whether it arrived or not.
    assert route["sent"] <= sum(found.values()) <= route["sent"] + route["in_doubt"] and status["balanced"], status
    listed = world.by_hand("doubts", "list", "--json", *where).splitlines()
    assert sum(found.values()) - 600 <= len(listed)
    settings = ("--to", "schedule-queue", "--reject", "wait-queue-rejected", "--window", "08:00-21:00", "--zone", zone(13))
    world.by_hand("check", *where, *settings)
    world.by_hand("plan", *where, *settings)


def test_the_policies_fit():
    """Over everything above: nothing the worker asked for was refused, and every permission it has was used."""
    if not Ledger.used:
        pytest.skip("nothing ran")
    assert Ledger.refused == {}
    used = {action for action, _ in Ledger.used}
    allowed = gates.Gate([load("iam/task-policy.json"), load("iam/hold-policy.json")])
    assert used - allowed.allowed_actions() == set()
    assert allowed.allowed_actions() - used == set(), "permissions that nothing used"
    queue = lambda name: f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"  # noqa: E731
    touched = {resource for _, resource in Ledger.used}
    assert touched == {
        queue("wait-queue"),
        queue("schedule-queue"),
        queue("wait-queue-rejected"),
        queue("wait-queue-held"),
        f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/sqs-drain",
    }
    # And each on its own resource: no queue has a permission that is never used on it.
    assert allowed.allowed_pairs() - set(Ledger.used) == set()
