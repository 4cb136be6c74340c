"""Makes what an operator of NATS makes with nsc: `credentials.py FOLDER` writes operator.conf, user.creds, user.jwt, user.seed, and
nkey.seed with nkey.public, all new."""

import base64, json, os, sys, time
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives import serialization as s

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
            crc &= 0xFFFF
    return crc


def text(raw):
    return base64.b32encode(raw + crc16(raw).to_bytes(2, "little")).decode().rstrip("=")


class Key:
    def __init__(self, kind):
        self.key = Ed25519PrivateKey.generate()
        public = self.key.public_key().public_bytes(s.Encoding.Raw, s.PublicFormat.Raw)
        private = self.key.private_bytes(s.Encoding.Raw, s.PrivateFormat.Raw, s.NoEncryption())
        self.public = text(bytes([kind]) + public)
        self.seed = text(bytes([SEED | kind >> 5, (kind & 31) << 3]) + private)


def jwt(issuer, subject, name, kind, **claims):
    part = lambda value: base64.urlsafe_b64encode(value).decode().rstrip("=")
    body = dict(jti=name, iat=int(time.time()), iss=issuer.public, name=name, sub=subject.public)
    body["nats"] = dict(type=kind, version=2, **claims)
    head = part(json.dumps(dict(typ="JWT", alg="ed25519-nkey")).encode()) + "." + part(json.dumps(body).encode())
    return head + "." + part(issuer.key.sign(head.encode()))


folder = sys.argv[1]
operator, account, system, user, nkey = Key(OPERATOR), Key(ACCOUNT), Key(ACCOUNT), Key(USER), Key(USER)
limits = dict(subs=-1, data=-1, payload=-1, imports=-1, exports=-1, wildcards=True, conn=-1, leaf=-1)
storage = dict(mem_storage=-1, disk_storage=-1, streams=-1, consumer=-1)
accounts = [(account, "app", limits | storage), (system, "SYS", limits)]
preload = "\n".join(f"  {key.public}: {jwt(operator, key, name, 'account', limits=most)}" for key, name, most in accounts)
conf = f"operator: {jwt(operator, operator, 'operator', 'operator')}\nsystem_account: {system.public}\n"
conf += f"resolver: MEMORY\nresolver_preload: {{\n{preload}\n}}\n"
token = jwt(account, user, "user", "user", subs=-1, data=-1, payload=-1)
block = lambda name, value: f"-----BEGIN {name}-----\n{value}\n------END {name}------\n\n"
creds = block("NATS USER JWT", token) + block("USER NKEY SEED", user.seed)
files = {"operator.conf": conf, "user.creds": creds, "user.jwt": token, "user.seed": user.seed}
files |= {"nkey.seed": nkey.seed, "nkey.public": nkey.public}
for name, content in files.items():
    with open(os.path.join(folder, name), "w") as file:
        file.write(content)
