"""AWS Batch in small: takes a job definition as `describe-job-definitions` gives it, starts the program as Batch starts the
container, and applies the definition's own rules to how it ends."""

import json
import os
import signal
import subprocess
import threading
import uuid


def retries(strategy, code):
    """Whether another attempt follows this exit code: the first rule that matches decides, and what matches none is retried."""
    for rule in strategy.get("evaluateOnExit", []):
        pattern = rule["onExitCode"]
        if str(code) == pattern or (pattern.endswith("*") and str(code).startswith(pattern[:-1])):
            return rule["action"].upper() == "RETRY"
    return True


class Attempt:
    """One start of the container: its exit code as Batch sees it (128 + signal when killed), its result line, its log."""

    def __init__(self, number):
        self.number, self.code, self.result, self.log = number, None, None, []
        self.process = None

    def kill(self):
        self.process.send_signal(signal.SIGKILL)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)

    def events(self):
        """The log lines' `fields`, of those lines that are JSON."""
        lines = []
        for line in self.log:
            try:
                lines.append(json.loads(line)["fields"])
            except (ValueError, KeyError):
                continue
        return lines


class Job:
    """A job, or one child of an array job."""

    def __init__(self, definition, command, environment, place, index=None, size=None, overrides=None):
        """`command` is what the image's entry point is; `environment` is what the account provides: credentials and
        endpoints. Nothing else of this process's environment is passed on. `place` is a directory for logs."""
        self.definition, self.entry, self.place = definition, command, place
        self.attempts = []
        self.status = "SUBMITTED"
        container = definition["containerProperties"]
        self.command = [*command, *container["command"]]
        self.environment = {entry["name"]: entry["value"] for entry in container["environment"]}
        self.environment.update(overrides or {})
        self.environment.update(environment)
        job = str(uuid.uuid4())
        self.environment.update({"AWS_BATCH_JOB_ID": job, "AWS_BATCH_JQ_NAME": "sqs-drain", "AWS_BATCH_CE_NAME": "sqs-drain"})
        if size:
            self.environment["AWS_BATCH_JOB_ID"] = f"{job}:{index}"
            self.environment["AWS_BATCH_JOB_ARRAY_SIZE"] = str(size)
            self.environment["AWS_BATCH_JOB_ARRAY_INDEX"] = str(index)

    def run(self, each=lambda attempt: None):
        """Attempts until one succeeds, a rule ends the job, or none is left. `each` is called when an attempt has started,
        and may interfere with it."""
        strategy = self.definition["retryStrategy"]
        limit = int(self.definition["timeout"]["attemptDurationSeconds"])
        for number in range(1, int(strategy["attempts"]) + 1):
            attempt = Attempt(number)
            self.attempts.append(attempt)
            name = f"{self.place}/{self.environment['AWS_BATCH_JOB_ID'].replace(':', '-')}-{number}"
            with open(f"{name}.out", "w+b") as out, open(f"{name}.err", "w+b") as err:
                attempt.process = subprocess.Popen(
                    self.command,
                    env={**self.environment, "AWS_BATCH_JOB_ATTEMPT": str(number)},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd="/",
                )
                meddler = threading.Thread(target=each, args=(attempt,), daemon=True)
                meddler.start()
                try:
                    # Batch would wait for `limit`; a check that takes longer than this has failed.
                    code = attempt.process.wait(timeout=min(limit, 240))
                except subprocess.TimeoutExpired:
                    attempt.process.send_signal(signal.SIGKILL)
                    attempt.process.wait()
                    raise
                meddler.join(10)
                out.seek(0), err.seek(0)
                text = out.read().decode()
                attempt.log = err.read().decode().splitlines()
            attempt.code = code if code >= 0 else 128 - code
            attempt.result = json.loads(text) if text.strip() else None
            if attempt.code == 0:
                self.status = "SUCCEEDED"
                return self
            self.status = "FAILED"
            if not retries(strategy, attempt.code):
                return self
        return self

    def codes(self):
        return [attempt.code for attempt in self.attempts]


def array(definition, command, environment, place, size, overrides=None, each=lambda index, attempt: None):
    """All children of an array job, at once."""
    children = [Job(definition, command, environment, place, index, size, overrides) for index in range(size)]
    failures = []

    def go(index, child):
        try:
            child.run(lambda attempt: each(index, attempt))
        except Exception as error:  # told by the caller, with the child it belongs to
            failures.append((index, error))

    threads = [threading.Thread(target=go, args=pair) for pair in enumerate(children)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [], failures
    return children


def binary():
    """The program to run: SQS_DRAIN_BIN, or None."""
    path = os.environ.get("SQS_DRAIN_BIN")
    return path if path and os.access(path, os.X_OK) else None
