"""An authority that gives certificates by certbot's protocol (RFC 8555), for the machine of the test.

    acme.py PORT CA-FILE      listens on loopback; writes the authority's own certificate to CA-FILE

It checks the challenge over HTTP, as a public one does, and believes every signature of a request. It runs on
the machine's own Python, with the libraries that certbot brings.
"""

import base64
import datetime
import json
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PORT = int(sys.argv[1])
HOME = f"http://127.0.0.1:{PORT}"
KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
NOW = datetime.datetime.utcnow() - datetime.timedelta(hours=1)
ORDERS = []


def certificate(subject, key, names, authority):
    builder = x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=NAME,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW,
        not_valid_after=NOW + datetime.timedelta(days=90),
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


OWN = certificate(NAME, KEY.public_key(), [], True)


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def order_document(number):
    order = ORDERS[number]
    document = {
        "status": order["status"],
        "expires": "2099-01-01T00:00:00Z",
        "identifiers": [{"type": "dns", "value": name} for name in order["names"]],
        "authorizations": [f"{HOME}/authz/{number}/{at}" for at in range(len(order["names"]))],
        "finalize": f"{HOME}/finalize/{number}",
    }
    if order["status"] == "valid":
        document["certificate"] = f"{HOME}/cert/{number}"
    return document


def challenge(number, at):
    return {
        "type": "http-01",
        "url": f"{HOME}/challenge/{number}/{at}",
        "token": encoded(f"token {number} {at}, long enough".encode()),
        "status": "valid" if at in ORDERS[number]["proven"] else "pending",
    }


class Authority(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, document, status=200, kind="application/json", **headers):
        body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Replay-Nonce", encoded(b"nonce"))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.answer("")

    def do_GET(self):
        names = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
        self.answer({name: f"{HOME}/{name}" for name in names} if self.path == "/directory" else "")

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        payload = json.loads(decoded(request["payload"]) or b"{}")
        what, *rest = self.path.strip("/").split("/")
        getattr(self, f"on_{what}")(payload, *map(int, rest))

    def on_newAccount(self, payload):
        self.answer({"status": "valid", "contact": []}, 201, Location=f"{HOME}/account/1")

    def on_account(self, payload, number):
        self.answer({"status": "valid", "contact": []})

    def on_newOrder(self, payload):
        names = [one["value"] for one in payload["identifiers"]]
        ORDERS.append({"names": names, "status": "pending", "proven": set(), "text": ""})
        number = len(ORDERS) - 1
        self.answer(order_document(number), 201, Location=f"{HOME}/order/{number}")

    def on_order(self, payload, number):
        self.answer(order_document(number))

    def on_authz(self, payload, number, at):
        proven = at in ORDERS[number]["proven"]
        self.answer(
            {
                "status": payload.get("status") or ("valid" if proven else "pending"),
                "identifier": {"type": "dns", "value": ORDERS[number]["names"][at]},
                "challenges": [challenge(number, at)],
            }
        )

    def on_challenge(self, payload, number, at):
        token = challenge(number, at)["token"]
        place = f"http://{ORDERS[number]['names'][at]}/.well-known/acme-challenge/{token}"
        with urllib.request.urlopen(place, timeout=10) as answer:
            if answer.read().decode().startswith(token + "."):
                ORDERS[number]["proven"].add(at)
        self.answer(challenge(number, at), Link=f'<{HOME}/authz/{number}/{at}>;rel="up"')

    def on_finalize(self, payload, number):
        order = ORDERS[number]
        if len(order["proven"]) < len(order["names"]):
            self.answer({"type": "urn:ietf:params:acme:error:orderNotReady"}, 403, "application/problem+json")
            return
        request = x509.load_der_x509_csr(decoded(payload["csr"]))
        order["text"] = certificate(request.subject, request.public_key(), order["names"], False) + OWN
        order["status"] = "valid"
        self.answer(order_document(number), Location=f"{HOME}/order/{number}")

    def on_cert(self, payload, number):
        self.answer(ORDERS[number]["text"], kind="application/pem-certificate-chain")


with open(sys.argv[2], "w") as file:
    file.write(OWN)
ThreadingHTTPServer(("127.0.0.1", PORT), Authority).serve_forever()
