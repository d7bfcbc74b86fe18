"""An endpoint that stands before the embedded ones and is to them what IAM is to AWS: it looks up every request in a policy,
refuses what the policy does not allow, and keeps count of what was used and of what it would cost."""

import collections
import contextlib
import fnmatch
import http.client
import http.server
import json
import socketserver
import threading
import urllib.parse

from files import ACCOUNT, REGION

# Calls that IAM knows under another name: a batch needs the permission of its single call.
SAME = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}

# Calls of the table that are charged by their size.
CHARGED = {"GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "DeleteItem"}


def listed(value):
    return value if isinstance(value, list) else [value]


def needs(target, body):
    """The (action, resource) pairs that a request needs, from its X-Amz-Target and its body."""
    service, call = target.split(".")
    if service == "AmazonSQS":
        name = body["QueueName"] if "QueueName" in body else body["QueueUrl"].rsplit("/", 1)[-1]
        return [(f"sqs:{SAME.get(call, call)}", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")]
    assert service.startswith("DynamoDB_"), target
    tables = [body["TableName"]] if "TableName" in body else list(body["RequestItems"])
    return [(f"dynamodb:{call}", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}") for table in tables]


class Gate:
    """The policies in force, what was used and what was refused. Policies may be changed while it stands."""

    def __init__(self, policies):
        self.policies = policies
        self.used = collections.Counter()
        self.refused = collections.Counter()
        # Requests by operation, and the units that DynamoDB charges for them.
        self.requests = collections.Counter()
        self.units = collections.Counter()
        self.lock = threading.Lock()

    def statements(self):
        return [statement for policy in self.policies for statement in policy["Statement"]]

    def allows(self, action, resource):
        return any(
            any(fnmatch.fnmatchcase(action, pattern) for pattern in listed(statement["Action"]))
            and any(fnmatch.fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"]))
            for statement in self.statements()
        )

    def judge(self, wanted):
        with self.lock:
            for pair in wanted:
                if not self.allows(*pair):
                    self.refused[pair] += 1
                    return pair
            self.used.update(wanted)
        return None

    def charge(self, call, answer):
        """Notes the units of an answer from the table, one figure or one for each table."""
        charged = json.loads(answer or b"{}").get("ConsumedCapacity", [])
        with self.lock:
            self.units[call] += sum(entry["CapacityUnits"] for entry in listed(charged))

    def allowed_actions(self):
        return {action for statement in self.statements() for action in listed(statement["Action"])}

    def allowed_pairs(self):
        return {
            (action, resource)
            for statement in self.statements()
            for action in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        }


def handler(gate, sqs, dynamodb):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        upstreams = None

        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            target = self.headers["X-Amz-Target"]
            call = target.split(".")[1]
            request = json.loads(body or b"{}")
            refused = gate.judge(needs(target, request))
            with gate.lock:
                gate.requests[call] += 1
            if refused:
                action, resource = refused
                message = f"User is not authorized to perform: {action} on resource: {resource}"
                kind = "AccessDeniedException" if target.startswith("Dynamo") else "AccessDenied"
                prefix = "com.amazon.coral.service" if target.startswith("Dynamo") else "com.amazonaws.sqs"
                self.answer(400, [("Content-Type", "application/x-amz-json-1.0")], json.dumps({"__type": f"{prefix}#{kind}", "message": message}).encode())
                return
            if call in CHARGED:
                body = json.dumps({**request, "ReturnConsumedCapacity": "TOTAL"}).encode()
            answer = self.ask(dynamodb if target.startswith("Dynamo") else sqs, body)
            if call in CHARGED:
                gate.charge(call, answer[2])
            self.answer(*answer)

        def ask(self, upstream, body):
            self.upstreams = self.upstreams or {}
            if upstream not in self.upstreams:
                self.upstreams[upstream] = http.client.HTTPConnection(urllib.parse.urlsplit(upstream).netloc, timeout=60)
            connection = self.upstreams[upstream]
            headers = {key: value for key, value in self.headers.items() if key.lower() not in ("connection", "content-length")}
            connection.request("POST", self.path, body, headers)
            response = connection.getresponse()
            kept = [(key, value) for key, value in response.getheaders() if key.lower() not in ("connection", "content-length", "transfer-encoding")]
            return response.status, kept, response.read()

        def answer(self, status, headers, body):
            self.send_response_only(status)
            if not any(key.lower() == "date" for key, _ in headers):
                self.send_header("Date", self.date_time_string())
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass  # a worker that was killed leaves its connections half-way


@contextlib.contextmanager
def standing(policies, sqs, dynamodb):
    """A gate before the two endpoints, on a free port of loopback: gives the gate and its URL."""
    gate = Gate(policies)
    server = Server(("127.0.0.1", 0), handler(gate, sqs, dynamodb))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield gate, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
