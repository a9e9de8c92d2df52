"""Other programs that speak S/MIME, each behind the same four operations over CMS in DER."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from tests.unit.smime.persons import KINDS, authority, person

HERE = Path(__file__).parent
PASSWORD = "sleutelbos-42"
JARS = ":".join(f"/usr/share/java/{name}.jar" for name in ("bcprov", "bcutil", "bcpkix"))


class Refused(Exception):
    """The peer said no; the text is what it said."""


def run(*words: str | Path, data: bytes = b"", environment: dict[str, str] | None = None) -> bytes:
    """Standard output of a program; raises Refused with its words when it ends with another status than 0."""
    done = subprocess.run([*map(str, words)], input=data, capture_output=True, env=environment, timeout=60)
    if done.returncode:
        raise Refused(f"{words[0]}: {done.stderr.decode('utf-8', 'replace').strip()[-400:]}")
    return done.stdout


class People:
    """The keys and certificates of everybody as files, which all peers read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = folder / "authority.pem"
        self.authority.write_bytes(authority()[1].public_bytes(serialization.Encoding.PEM))
        for kind in KINDS:
            one = person(kind)
            self.certificate(kind).write_bytes(one.certificate.pem())
            self.key(kind).write_bytes(
                one.key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )

    def certificate(self, kind: str) -> Path:
        return self.folder / f"{kind}.crt"

    def key(self, kind: str) -> Path:
        return self.folder / f"{kind}.key"

    def pkcs12(self, kind: str) -> Path:
        """A file in the oldest form, which every program imports."""
        target = self.folder / f"{kind}.p12"
        names = ("-inkey", self.key(kind), "-in", self.certificate(kind), "-certfile", self.authority)
        run(
            "openssl", "pkcs12", "-export", "-legacy", *names, "-name", kind,
            "-passout", f"pass:{PASSWORD}", "-out", target,
        )  # fmt: skip
        return target


class Peer:
    """One program. The sets say what it is able to, as (cipher, key transport or kind of key)."""

    name = ""
    encrypts: frozenset[tuple[str, str]] = frozenset()
    decrypts: frozenset[tuple[str, str]] = frozenset()
    signs: frozenset[str] = frozenset()
    verifies: frozenset[str] = frozenset()
    forms = ("detached", "opaque")

    def __init__(self, people: People, folder: Path) -> None:
        self.people = people
        self.folder = folder

    def encrypt(self, content: bytes, cipher: str, how: str) -> bytes:
        raise NotImplementedError

    def decrypt(self, cms: bytes, kind: str) -> bytes:
        raise NotImplementedError

    def sign(self, content: bytes, how: str, opaque: bool) -> bytes:
        raise NotImplementedError

    def verify(self, cms: bytes, content: bytes | None) -> bytes:
        """The content; None = it is inside. Raises Refused when the signature is not right."""
        raise NotImplementedError

    def close(self) -> None:
        """End what was started."""

    def file(self, name: str, data: bytes = b"") -> Path:
        target = self.folder / name
        target.write_bytes(data)
        return target


KEY_OF = {"v15": "rsa", "oaep": "rsa", "oaep-256": "rsa", "pieces": "rsa", "key": "rsa", "cofactor": "p384"}
KEY_OF |= {"pkcs1": "rsa", "pss": "rsa", "sha512": "rsa", "noattr": "p256", "attributes": "rsa"}
"""The kind of key that a way to encrypt or sign is for; other ways are named by their kind of key."""


def pairs(ciphers: str, ways: str) -> frozenset[tuple[str, str]]:
    return frozenset((cipher, way) for cipher in ciphers.split() for way in ways.split())


CBC = "aes-128-cbc aes-192-cbc aes-256-cbc"
GCM = "aes-128-gcm aes-256-gcm"
CURVES = "p256 p384 p521 brainpool256 brainpool384 brainpool512"


class Openssl(Peer):
    """The command ``openssl cms``."""

    name = "openssl cms"
    encrypts = pairs(f"{CBC} {GCM} 3des-cbc", f"v15 oaep oaep-256 pieces key {CURVES}")
    decrypts = pairs(f"{CBC} {GCM}", f"v15 oaep {CURVES}")
    signs = frozenset(f"pkcs1 pss sha512 noattr key {CURVES}".split())
    verifies = frozenset(f"pkcs1 pss {CURVES}".split())

    def encrypt(self, content: bytes, cipher: str, how: str) -> bytes:
        more = {
            "oaep": ("-keyopt", "rsa_padding_mode:oaep"),
            "oaep-256": ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"),
            "pieces": ("-stream",),
            "key": ("-keyid",),
        }
        algorithm = {"3des-cbc": "des3"}.get(cipher, cipher)
        to = self.people.certificate(KEY_OF.get(how, how))
        return run(
            "openssl", "cms", "-encrypt", "-binary", "-outform", "DER", f"-{algorithm}", "-recip", to,
            *more.get(how, ()), data=content,
        )  # fmt: skip

    def decrypt(self, cms: bytes, kind: str) -> bytes:
        who = ("-recip", self.people.certificate(kind), "-inkey", self.people.key(kind))
        return run("openssl", "cms", "-decrypt", "-binary", "-inform", "DER", *who, data=cms)

    def sign(self, content: bytes, how: str, opaque: bool) -> bytes:
        more = {
            "pss": ("-keyopt", "rsa_padding_mode:pss"),
            "sha512": ("-md", "sha512"),
            "noattr": ("-noattr",),
            "key": ("-keyid",),
        }
        kind = KEY_OF.get(how, how)
        who = ("-signer", self.people.certificate(kind), "-inkey", self.people.key(kind))
        form = ("-nodetach",) if opaque else ()
        return run(
            "openssl", "cms", "-sign", "-binary", "-outform", "DER", *who, *form, *more.get(how, ()),
            data=content,
        )  # fmt: skip

    def verify(self, cms: bytes, content: bytes | None) -> bytes:
        inside = () if content is None else ("-content", self.file("content", content))
        return run(
            "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-CAfile", self.people.authority,
            *inside, data=cms,
        )  # fmt: skip


class Server(Peer):
    """A peer in another language that answers requests line by line."""

    command: tuple[str | Path, ...] = ()

    def __init__(self, people: People, folder: Path) -> None:
        super().__init__(people, folder)
        self.process = subprocess.Popen(
            [*map(str, self.start())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self) -> tuple[str | Path, ...]:
        return self.command

    def ask(self, operation: str, data: bytes, *words: str | Path) -> bytes:
        source, target = self.file("in", data), self.folder / "out"
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(operation, source, target, *words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().strip()
        if answer != "ok":
            raise Refused(answer or "it ended")
        return target.read_bytes()

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()


class BouncyCastle(Server):
    """BouncyCastle of Debian, behind a small program of ours."""

    name = "BouncyCastle"
    encrypts = pairs(f"{CBC} {GCM} 3des-cbc", f"v15 oaep oaep-256 cofactor {CURVES}") | pairs(CBC, "pieces")
    encrypts |= pairs(GCM, "attributes")
    decrypts = pairs(f"{CBC} {GCM}", f"v15 oaep {CURVES}")
    signs = frozenset(f"pkcs1 pss ed25519 {CURVES}".split())
    verifies = frozenset(f"pkcs1 pss ed25519 {CURVES}".split())

    def start(self) -> tuple[str | Path, ...]:
        run("javac", "-nowarn", "-d", self.folder, "-cp", JARS, HERE / "java" / "Peer.java")
        return ("java", "-XX:TieredStopAtLevel=1", "-cp", f"{self.folder}:{JARS}", "Peer")

    def encrypt(self, content: bytes, cipher: str, how: str) -> bytes:
        transport, form = ("v15", how) if how in ("pieces", "attributes") else (how, "whole")
        to = self.people.certificate(KEY_OF.get(how, how))
        return self.ask("encrypt", content, to, cipher, transport, form)

    def compress(self, content: bytes) -> bytes:
        return self.ask("compress", content)

    def decrypt(self, cms: bytes, kind: str) -> bytes:
        return self.ask("decrypt", cms, self.people.key(kind), self.people.certificate(kind))

    def sign(self, content: bytes, how: str, opaque: bool) -> bytes:
        kind = KEY_OF.get(how, how)
        algorithm = {"pkcs1": "SHA256withRSA", "pss": "SHA256withRSAandMGF1", "ed25519": "Ed25519"}
        who = (self.people.key(kind), self.people.certificate(kind))
        form = "opaque" if opaque else "detached"
        return self.ask("sign", content, *who, algorithm.get(how, "SHA384withECDSA"), form)

    def verify(self, cms: bytes, content: bytes | None) -> bytes:
        return self.ask("verify", cms, "-" if content is None else self.file("content", content))


class Node(Server):
    """What pkijs and node-forge share."""

    library = ""

    def start(self) -> tuple[str | Path, ...]:
        if not (HERE / "node" / "node_modules" / "pkijs").is_dir():
            raise Refused("pkijs is missing: run packaging/prepare --tests")
        return ("node", HERE / "node" / "peer.js")

    def encrypt(self, content: bytes, cipher: str, how: str) -> bytes:
        to = self.people.certificate(KEY_OF.get(how, how))
        return self.ask(f"{self.library}-encrypt", content, to, cipher)

    def decrypt(self, cms: bytes, kind: str) -> bytes:
        who = (self.people.key(kind), self.people.certificate(kind))
        return self.ask(f"{self.library}-decrypt", cms, *who)


class Pkijs(Node):
    """pkijs on the WebCrypto of Node."""

    name = "pkijs"
    library = "pkijs"
    encrypts = pairs("aes-128-cbc aes-256-cbc", "oaep-256 p256 p384 p521")
    # with ECDH it reads only messages with keying material of the sender, which is optional and we leave out
    decrypts = pairs("aes-128-cbc aes-256-cbc", "oaep")
    verifies = frozenset(("pkcs1", "p256", "p384"))

    def verify(self, cms: bytes, content: bytes | None) -> bytes:
        given = "-" if content is None else self.file("content", content)
        return self.ask("pkijs-verify", cms, given, self.people.authority)


class Forge(Node):
    """node-forge, whose encrypted content is a constructed string of definite length."""

    name = "node-forge"
    library = "forge"
    encrypts = pairs(CBC, "v15")
    decrypts = pairs(CBC, "v15")
    signs = frozenset(("pkcs1",))

    def sign(self, content: bytes, how: str, opaque: bool) -> bytes:
        who = (self.people.key("rsa"), self.people.certificate("rsa"))
        return self.ask("forge-sign", content, *who, "opaque" if opaque else "detached")


class Nss(Peer):
    """The commands of NSS: ``cmsutil`` with a database of its own."""

    name = "NSS cmsutil"
    encrypts = pairs("aes-128-cbc", "v15")
    decrypts = pairs(CBC, "v15")
    signs = frozenset(("pkcs1",))
    verifies = frozenset(("pkcs1", "pss", "p256", "p384"))

    def __init__(self, people: People, folder: Path) -> None:
        super().__init__(people, folder)
        self.database = f"sql:{folder}"
        run("certutil", "-N", "-d", self.database, "--empty-password")
        run(
            "certutil",
            "-A",
            "-d",
            self.database,
            "-n",
            "authority",
            "-t",
            "CT,C,C",
            "-a",
            "-i",
            people.authority,
        )
        run("pk12util", "-i", people.pkcs12("rsa"), "-d", self.database, "-W", PASSWORD)

    def _run(self, data: bytes, *words: str | Path) -> bytes:
        target = self.folder / "out"
        target.unlink(missing_ok=True)
        run("cmsutil", *words, "-d", self.database, "-i", self.file("in", data), "-o", target)
        return target.read_bytes()

    def encrypt(self, content: bytes, cipher: str, how: str) -> bytes:
        return self._run(content, "-E", "-r", "rsa@care.test")

    def decrypt(self, cms: bytes, kind: str) -> bytes:
        return self._run(cms, "-D")

    def sign(self, content: bytes, how: str, opaque: bool) -> bytes:
        form = () if opaque else ("-T",)
        return self._run(content, "-S", "-N", "rsa", "-G", "-H", "SHA256", *form)

    def verify(self, cms: bytes, content: bytes | None) -> bytes:
        inside = () if content is None else ("-c", self.file("content", content))
        source = self.file("in", cms)
        # it ends with status 0 whatever the signature is: its report says what it thinks of it
        report = run("cmsutil", "-D", "-h", "0", "-d", self.database, "-i", source, *inside).decode("latin-1")
        statuses = re.findall(r"signer\d+\.status=(\w+)", report)
        if not statuses or set(statuses) != {"GoodSignature"}:
            raise Refused(f"cmsutil: {statuses or report[:300]}")
        return content if content is not None else self._run(cms, "-D")


class Gpgsm(Peer):
    """GnuPG's S/MIME, with a home and an agent of its own."""

    name = "gpgsm"
    encrypts = pairs("aes-128-cbc aes-256-cbc", "v15")
    decrypts = pairs(CBC, "v15")
    signs = frozenset(("pkcs1",))
    verifies = frozenset(("pkcs1", "pss", "p256", "p384"))

    def __init__(self, people: People, folder: Path) -> None:
        super().__init__(people, folder)
        self.home = folder / "h"
        self.home.mkdir(mode=0o700)
        self.home.joinpath("gpgsm.conf").write_text("disable-crl-checks\ndisable-dirmngr\n")
        self.home.joinpath("gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        text = run("openssl", "x509", "-in", people.authority, "-noout", "-fingerprint", "-sha1").decode()
        fingerprint = text.partition("=")[2].strip()
        self.home.joinpath("trustlist.txt").write_text(f"{fingerprint} S relax\n")
        self._gpgsm("--import", people.authority)
        secret = ("--pinentry-mode", "loopback", "--passphrase-fd", "0")
        self._gpgsm(*secret, "--import", people.pkcs12("rsa"), data=PASSWORD.encode())

    def _gpgsm(self, *words: str | Path, data: bytes = b"") -> bytes:
        return run("gpgsm", "--homedir", self.home, "--batch", "--yes", *words, data=data)

    def _unlocked(self, data: bytes, *words: str | Path) -> bytes:
        secret = ("--pinentry-mode", "loopback", "--passphrase-fd", "0")
        target = self.folder / "out"
        source = self.file("in", data)
        self._gpgsm(*secret, "--output", target, *words, source, data=PASSWORD.encode())
        return target.read_bytes()

    def encrypt(self, content: bytes, cipher: str, how: str) -> bytes:
        algorithm = {"aes-128-cbc": "AES128", "aes-256-cbc": "AES256"}[cipher]
        return self._gpgsm(
            "--encrypt", "--cipher-algo", algorithm, "--recipient", "rsa@care.test", data=content
        )

    def decrypt(self, cms: bytes, kind: str) -> bytes:
        return self._unlocked(cms, "--decrypt")

    def sign(self, content: bytes, how: str, opaque: bool) -> bytes:
        form = () if opaque else ("--detach-sign",)
        return self._unlocked(content, "--local-user", "rsa@care.test", "--sign", *form)

    def verify(self, cms: bytes, content: bytes | None) -> bytes:
        signature = self.file("signature", cms)
        if content is not None:
            self._gpgsm("--verify", signature, self.file("content", content))
            return content
        target = self.folder / "out"
        self._gpgsm("--output", target, "--verify", signature)
        return target.read_bytes()

    def close(self) -> None:
        run("gpgconf", "--homedir", self.home, "--kill", "all")


class CryptSmime(Peer):
    """Perl's Crypt::SMIME, which reads and writes whole messages."""

    name = "Crypt::SMIME"
    encrypts = pairs("3des-cbc", "v15")
    decrypts = pairs(f"{CBC} {GCM}", "v15 oaep")
    signs = frozenset(("pkcs1",))
    verifies = frozenset(("pkcs1", "pss", "p256", "p384"))
    forms = ("detached",)

    def perl(self, operation: str, message: bytes, kind: str = "rsa") -> bytes:
        files = (self.people.key(kind), self.people.certificate(kind), self.people.authority)
        return run("perl", HERE / "perl" / "peer.pl", operation, *files, data=message)


PEERS = (Openssl, BouncyCastle, Nss, Gpgsm, CryptSmime, Pkijs, Forge)
PROGRAMS = ("openssl", "java", "javac", "certutil", "cmsutil", "pk12util", "gpgsm", "perl", "node")


def missing() -> list[str]:
    """Programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]
