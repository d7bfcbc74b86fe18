"""The embedded endpoints with queues and a table, as the checks that run the program need them."""

import collections
import contextlib
import datetime
import json
import subprocess
import time

import emulators
import run_as_batch
from files import REGION

# Shorter than the defaults, as a submit-job's containerOverrides may make them, so that a killed process's messages come back
# soon; with few lanes, because the gate is a small Python server.
QUICK = {
    "SQS_DRAIN_VISIBILITY": "30s",
    "SQS_DRAIN_MARGIN": "1s",
    "SQS_DRAIN_SEND_TIMEOUT": "4s",
    "SQS_DRAIN_TABLE_TIMEOUT": "4s",
    "SQS_DRAIN_HEARTBEAT": "1s",
    "SQS_DRAIN_LEASE": "8s",
    "SQS_DRAIN_POLL": "1s",
    "SQS_DRAIN_SETTLE": "1s",
    "SQS_DRAIN_LANES": "4",
}


def zone(hour):
    """A zone in which it is about `hour` o'clock now. (`Etc/GMT-9` is nine hours east of Greenwich.)"""
    east = (hour - datetime.datetime.now(datetime.timezone.utc).hour + 12) % 24 - 12
    return f"Etc/GMT{-east:+d}" if east else "Etc/GMT"


class World:
    """Fresh endpoints with the queues and the table, a gate before them, and what AWS would give a container."""

    def __init__(self, binary, sqs, dynamodb, gate, url, place):
        self.binary, self.sqs_url, self.dynamodb_url, self.gate, self.place = binary, sqs, dynamodb, gate, place
        self.sqs = emulators.client("sqs", sqs)
        self.given = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "check", "AWS_SECRET_ACCESS_KEY": "check"}
        self.urls = {}
        attributes = {"schedule-queue": {"MaximumMessageSize": "4096"}}
        for name in ("wait-queue", "schedule-queue", "wait-queue-rejected", "wait-queue-held"):
            self.urls[name] = self.sqs.create_queue(QueueName=name, Attributes=attributes.get(name, {}))["QueueUrl"]

    def make_table(self):
        """The table as the stack makes it."""
        keys = {"pk": "HASH", "sk": "RANGE"}
        emulators.client("dynamodb", self.dynamodb_url).create_table(
            TableName="sqs-drain",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
        )
        emulators.client("dynamodb", self.dynamodb_url).update_time_to_live(
            TableName="sqs-drain", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
        )

    def park(self, count, size=300):
        """Puts messages into the wait queue, each with its number."""
        for start in range(0, count, 10):
            entries = [
                {"Id": str(number), "MessageBody": json.dumps({"number": number, "text": "가" * (size // 3)}, ensure_ascii=False)}
                for number in range(start, min(start + 10, count))
            ]
            answer = self.sqs.send_message_batch(QueueUrl=self.urls["wait-queue"], Entries=entries)
            assert not answer.get("Failed")

    def depth(self, name):
        """Visible, in flight, delayed."""
        wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.urls[name], AttributeNames=wanted)["Attributes"]
        return [int(attributes[key]) for key in wanted]

    def moved(self, count):
        """Waits until the destination holds so many; False when three minutes are over."""
        deadline = time.monotonic() + 180
        while self.depth("schedule-queue")[0] < count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def audit(self, name="schedule-queue"):
        """Empties a queue: how often each number was in it."""
        found = collections.Counter()
        while True:
            answer = self.sqs.receive_message(QueueUrl=self.urls[name], MaxNumberOfMessages=10, WaitTimeSeconds=0)
            messages = answer.get("Messages", [])
            if not messages:
                return found
            found.update(json.loads(message["Body"])["number"] for message in messages)
            entries = [{"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]} for i, message in enumerate(messages)]
            self.sqs.delete_message_batch(QueueUrl=self.urls[name], Entries=entries)

    def job(self, definition, **more):
        return run_as_batch.Job(definition, [self.binary], self.given, self.place, overrides={**QUICK, **more})

    def by_hand(self, *words, expect=0):
        """A sub-command as an operator types it, with the same permissions."""
        environment = {**self.given, "AWS_REGION": REGION}
        done = subprocess.run([self.binary, *words], env=environment, capture_output=True, text=True, timeout=60, cwd="/")
        assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stderr}"
        return done.stdout


@contextlib.contextmanager
def endpoints(binary, directory):
    """`sqs-drain local` on free ports: the URLs of SQS and DynamoDB."""
    ports = emulators.free_port(), emulators.free_port()
    sqs, dynamodb = (f"http://127.0.0.1:{port}" for port in ports)
    command = [binary, "local", "--port", str(ports[0]), "--dynamodb-port", str(ports[1])]

    def ready():
        emulators.client("sqs", sqs).list_queues()
        emulators.client("dynamodb", dynamodb).list_tables()

    with emulators.process(command, sqs, ready, directory / "local.log"):
        yield sqs, dynamodb
