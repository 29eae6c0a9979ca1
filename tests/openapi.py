"""Runs schemathesis against the admin API of a gateway, which `tests/openapi` calls with the program and with schemathesis.

Every check is on, with the exceptions at `CONFIGURATION` and `WITH_TOKEN`.
"""

import concurrent.futures
import hashlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
# Seconds until a gateway has to listen, and until it has to have ended.
START_TIME = 30
END_TIME = 30
# Seconds for one run of schemathesis.
RUN_TIME = 300
# Examples of each operation.
EXAMPLES = os.environ.get("PURPOSEGATE_EXAMPLES", "20")
KEY = "pgk_test_support"
TOKEN = "pga_test_0123456789abcdef0123456789abcdef"

GATEWAY = """
policy = "{policy}"
[listener]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
{tokens}
[[upstream]]
name = "nowhere"
url = "http://127.0.0.1:9"
[[recipient]]
name = "support"
kind = "employee"
country = "DE"
purposes = ["customer-support"]
credentials = [{{ api-key = "{key}" }}]
[[recipient]]
name = "police"
kind = "public-authority"
country = "DE"
purposes = ["law-enforcement"]
[[route]]
name = "customers"
upstream = "nowhere"
path = "/customers/{{id}}"
subject = "@.id"
[route.fields]
"@.name" = "name"
"""

# Events that are valid by the description can be refused with 400: the recipient or the namespace is not configured (their
# names are not in the description), a place is no region of the pack, or a time is too far ahead.
# One evaluation of several, or one line of a batch, that is wrong is answered with its own error within a 200.
CONFIGURATION = """
continue-on-failure = true

[parameters]
"header.Ledger-Position" = "{position}"
"query.namespace" = "default"
"query.reason" = "a test"

[[operations]]
include-method = "POST"
include-tag = ["events", "subjects", "cases"]
[operations.checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "429", "5xx"]

[[operations]]
include-operation-id = ["importEvents", "evaluateSeveral"]
[operations.checks]
negative_data_rejection.enabled = false

[[operations]]
include-operation-id = ["getCase", "approveCase", "endCase"]
parameters = {{ "path.id" = "seed" }}

[[operations]]
include-operation-id = "getDecision"
parameters = {{ "path.id" = "{decision}" }}

[[operations]]
include-operation-id = ["getSubject", "listSubjectEvents", "listDisclosures", "getReport"]
parameters = {{ "path.id" = "seed" }}
"""

# Requests without a valid token are limited for each address, so that most would get 429: `refuses_strangers` makes them.
WITH_TOKEN = """
[checks]
ignored_auth.enabled = false
"""

# Schemathesis knows no media type of JSON lines.
HOOKS = """
import json
import schemathesis

@schemathesis.serializer("application/x-ndjson")
def write_lines(ctx, value):
    lines = value if isinstance(value, list) else [value]
    return "\\n".join(json.dumps(line) for line in lines).encode()

@schemathesis.deserializer("application/x-ndjson")
def read_lines(ctx, response):
    return [json.loads(line) for line in response.content.splitlines()]
"""


def hashed(secret):
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


def request(address, path, headers, body=None):
    """Sends a request, and returns the JSON of the answer, also of a refusal."""
    data = None if body is None else json.dumps(body).encode()
    message = urllib.request.Request(f"http://{address}{path}", data=data, headers=headers)
    try:
        with urllib.request.urlopen(message, timeout=START_TIME) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        return json.load(refusal)


class Gateway:
    """A gateway in a process of its own, which ends with the block."""

    def __init__(self, program, folder, with_token):
        self.folder = folder
        tokens = ""
        if with_token:
            roles = '["read", "ledger", "privacy", "cases", "operator"]'
            tokens = f'tokens = [{{ name = "tests", hash = "{hashed(TOKEN)}", roles = {roles} }}]\nrate = {{ requests = 100000, per = "1s" }}'
        policy = REPOSITORY / "policies/one-partner-360"
        text = GATEWAY.format(policy=policy, tokens=tokens, key=hashed(KEY))
        file = folder / "purposegate.toml"
        file.write_text(text)
        self.log = folder / "log"
        environment = {**os.environ, "PURPOSEGATE_LOG_FORMAT": "json"}
        with self.log.open("w") as log:
            arguments = [program, "serve", "--config", str(file)]
            self.process = subprocess.Popen(arguments, stderr=log, env=environment)
        self.headers = {"Authorization": f"Bearer {TOKEN}"} if with_token else {}

    def __enter__(self):
        try:
            self.public = self.address("listening")
            self.admin = self.address("admin listening")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(END_TIME)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def address(self, message):
        """Returns the address in the log line with a message."""
        end = time.monotonic() + START_TIME
        while time.monotonic() < end and self.process.poll() is None:
            for line in self.log.read_text().splitlines():
                fields = json.loads(line)["fields"] if line.startswith("{") else {}
                if fields.get("message") == message:
                    return fields["address"]
            time.sleep(0.05)
        sys.exit(f"the gateway does not start:\n{self.log.read_text()}")

    def seed(self):
        """Records a person, a case and a decision. Returns the position of the last event, and the decision's id."""
        notice = {"kind": "notice", "notice": "v1"}
        request(self.admin, "/v1/subjects/seed/events", self.headers, notice)
        case = {
            "case": "seed",
            "recipient": "police",
            "purpose": "law-enforcement",
            "subjects": ["seed"],
            "categories": ["name"],
            "end": "2999-01-01T00:00:00Z",
            "reference": "12 O 4",
        }
        position = request(self.admin, "/v1/cases", self.headers, case)["position"]
        recipient = {"Authorization": f"Bearer {KEY}", "Data-Purpose": "customer-support"}
        decision = request(self.public, "/customers/seed", recipient)["decision"]
        return position, decision


    def refuses_strangers(self):
        """Sends a request to each operation without a token and with a wrong one, each from an address of its own."""
        paths = request(self.admin, "/openapi.json", self.headers)["paths"]
        operations = [(path, method, each) for path, item in paths.items() for method, each in item.items()]
        for number, (path, method, operation) in enumerate(operations, start=2):
            connection = http.client.HTTPConnection(self.admin, source_address=(f"127.0.1.{number}", 0))
            for headers in ({}, {"Authorization": f"Bearer {TOKEN}0"}):
                connection.request(method.upper(), path.replace("{", "").replace("}", ""), headers=headers)
                answer = connection.getresponse()
                answer.read()
                expected = 200 if operation.get("security") == [] else 401
                if answer.status != expected:
                    sys.exit(f"{method} {path} with {headers or 'no token'}: {answer.status}, expected {expected}")
            connection.close()


def compare(program, schemathesis, with_token):
    """Runs schemathesis against a gateway. Returns its exit status and what it printed."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with Gateway(program, folder, with_token) as gateway:
            position, decision = gateway.seed()
            configuration = CONFIGURATION.format(position=position, decision=decision)
            (folder / "schemathesis.toml").write_text(configuration + (WITH_TOKEN if with_token else ""))
            (folder / "hooks.py").write_text(HOOKS)
            headers = [f"--header={name}:{value}" for name, value in gateway.headers.items()]
            arguments = [
                schemathesis,
                "--config-file=schemathesis.toml",
                "run",
                f"http://{gateway.admin}/openapi.json",
                "--phases=examples,coverage,fuzzing",
                f"--max-examples={EXAMPLES}",
                "--generation-deterministic",
                "--no-color",
                *headers,
            ]
            environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": name}
            if with_token:
                gateway.refuses_strangers()
            run = subprocess.run(
                arguments, cwd=folder, env=environment, timeout=RUN_TIME, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            return run.returncode or gateway.process.poll() or 0, run.stdout.decode(errors="replace")


def main():
    program, schemathesis = sys.argv[1:]
    schemathesis = str(pathlib.Path(schemathesis).resolve())
    # Both runs at a time: each uses one processor.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [pool.submit(compare, program, schemathesis, with_token) for with_token in (False, True)]
    failed = 0
    for title, run in zip(("without credentials", "with a token"), runs):
        status, output = run.result()
        print(f"==> admin API {title}\n{output}", flush=True)
        failed = failed or status
    sys.exit(failed)


main()
