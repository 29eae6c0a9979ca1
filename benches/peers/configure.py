#!/usr/bin/env python3
"""Writes our side of the peer benchmark from the harness's keys and consent.

usage: configure.py config  > purposegate.toml     (ports, keys and certificates from the environment)
       configure.py events  > events.ndjson        (one consent event a line)

Environment: DATA, and for `config` CERTS, ORIGIN_PORT, PORT, H2C_PORT, TLS_PORT, MTLS_PORT, DURABILITY.
"""
import hashlib, json, os, sys

PURPOSES = {"marketing": 1, "support": 2, "billing": 4, "analytics": 8}
PACK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pack")


def read(name):
    return json.load(open(os.path.join(os.environ["DATA"], name)))


def purposes(bits):
    return [name for name, bit in PURPOSES.items() if bits & bit]


def events():
    for subject, bits in read("consent.json").items():
        for purpose in purposes(bits):
            print(json.dumps({"subject": subject, "kind": "consent-given", "purpose": purpose}))


# A customer who consented to nothing has no event: they are unknown, and their other members leave all the same.
CUSTOMERS = """
[[route]]
name = "{name}"
upstream = "origin"
path = "{path}"
record = "{record}"
schema = "customer"
unclassified = "release"
unknown-subject = "no-facts"
"""
# Outside of the records nothing leaves unclassified.
PAGE = """
[route.fields]
"$.total" = "non-personal"
"$.next" = "non-personal"
"""
PRODUCT = """
[[route]]
name = "doc"
upstream = "origin"
path = "/doc.json"
personal = false
"""


def config():
    env = os.environ
    tls = f'certificate = "{env["CERTS"]}/server.pem"\nkey = "{env["CERTS"]}/server.key"\n'
    print(f"""policy = "{PACK}"
[admin]
address = "127.0.0.1:0"
[audit]
durability = "{env.get("DURABILITY", "batched")}"
[[listener]]
address = "127.0.0.1:{env["PORT"]}"
[[listener]]
address = "127.0.0.1:{env["H2C_PORT"]}"
[[listener]]
address = "127.0.0.1:{env["TLS_PORT"]}"
[listener.tls]
{tls}
[[listener]]
address = "127.0.0.1:{env["MTLS_PORT"]}"
[listener.tls]
{tls}client-ca = "{env["CERTS"]}/ca.pem"
client-certificate = "required"
[[upstream]]
name = "origin"
url = "http://127.0.0.1:{env["ORIGIN_PORT"]}"
[[schema]]
name = "customer"
subject = "@.id"
[schema.fields]
"@.notes" = "support-content"
"@.profile.name" = "name"
"@.profile.phone" = "phone"
"@.profile.dob" = "date-of-birth"
"@.profile.address" = "postal-address"
"@.profile.email" = "email"
""")
    for name in ("list100", "list10k"):
        print(CUSTOMERS.format(name=name, path=f"/{name}.json", record="$.data[*]") + PAGE)
    for name, path in (("one", "/one.json"), ("each", "/one/{number}"), ("fidelity", "/fidelity.json")):
        print(CUSTOMERS.format(name=name, path=path, record="$"))
    print(PRODUCT)
    for number, (key, bits) in enumerate(read("keys.json").items()):
        print(f"""[[recipient]]
name = "recipient-{number}"
kind = "employee"
country = "NL"
purposes = {json.dumps(purposes(bits))}
credentials = [{{ api-key = "sha256:{hashlib.sha256(key.encode()).hexdigest()}" }}]
""")


{"config": config, "events": events}[sys.argv[1]]()
