"""Small files of every kind, made by hand, so that the tests need no office programs."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterable, Mapping
from email.message import EmailMessage

from nta_milter.message.headers import split
from nta_milter.message.mime import Part, parse

BSN = "123456782"
"""Passes the eleven-test; not given to anybody."""


def archive(members: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return file.getvalue()


def encrypted_archive(members: Mapping[str, bytes | str]) -> bytes:
    """The same with the mark of encryption in every header; nobody gets as far as the password."""
    data = bytearray(archive(members))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = data.find(signature)
        while position >= 0:
            data[position + offset] |= 1
            position = data.find(signature, position + 4)
    return bytes(data)


def docx(*paragraphs: str, extra: Mapping[str, bytes | str] | None = None) -> bytes:
    """Each paragraph is cut into runs of four characters, as Word likes to do."""
    runs = (
        "".join(
            f'<w:r><w:rPr><w:b/></w:rPr><w:t xml:space="preserve">{text[at : at + 4]}</w:t></w:r>'
            for at in range(0, len(text), 4)
        )
        for text in paragraphs
    )
    body = "".join(f"<w:p>{paragraph}</w:p>" for paragraph in runs)
    document = f"<w:document><w:body>{body}</w:body></w:document>"
    return archive({"[Content_Types].xml": "<Types/>", "word/document.xml": document, **(extra or {})})


def xlsx(header: str, value: str) -> bytes:
    return archive(
        {
            "[Content_Types].xml": "<Types/>",
            "xl/worksheets/sheet1.xml": '<row><c r="A1" s="2" t="s"><v>1</v></c><c t="s"><v>99</v></c></row>'
            f'<row><c r="A2"><f>A1</f><v>{value}</v></c>'
            '<c t="inlineStr"><is><t>in &amp; line</t></is></c></row>',
            "xl/sharedStrings.xml": f"<sst><si><t>other</t></si><si><r><t>{header[:2]}</t></r>"
            f"<r><t>{header[2:]}</t></r></si></sst>",
            "xl/printerSettings/printerSettings1.bin": b"\x00\x01",
        }
    )


def ods(header: str, value: str) -> bytes:
    return archive(
        {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "META-INF/manifest.xml": "<manifest:manifest/>",
            "content.xml": f"<table:table-row><table:table-cell><text:p>{header}</text:p></table:table-cell>"
            f'<table:table-cell office:value-type="float" office:value="{value}"><text:p>1,23E8</text:p>'
            "</table:table-cell></table:table-row>",
        }
    )


def pdf(*lines: str, encrypted: bool = False) -> bytes:
    """One page; ``encrypted`` asks for a password (PDF 1.7 section 7.6.3, revision 2)."""
    shown = b" ".join(b"(%b) Tj 0 -14 Td" % line.encode("latin-1") for line in lines)
    stream = b"BT /F1 12 Tf 72 720 Td %b ET" % shown
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    trailer = b""
    if encrypted:
        pad = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
        user = (b"secret" + pad)[:32]
        owner = rc4(hashlib.md5(user, usedforsecurity=False).digest()[:5], user)
        identifier = b"0123456789abcdef"
        material = user + owner + struct.pack("<l", -4) + identifier
        check = rc4(hashlib.md5(material, usedforsecurity=False).digest()[:5], pad)
        objects.append(
            b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%b> /U <%b> >>"
            % (owner.hex().encode(), check.hex().encode())
        )
        trailer = b"/Encrypt 6 0 R /ID [<%b> <%b>] " % ((identifier.hex().encode(),) * 2)
    output = b"%PDF-1.4\n"
    offsets = []
    for number, item in enumerate(objects, 1):
        offsets.append(len(output))
        output += b"%d 0 obj\n%b\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return (
        output
        + b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, table)
        + b"trailer << /Size %d /Root 1 0 R %b>>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, len(output))
    )


def rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    output = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        output.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(output)


def tnef(
    attachments: Iterable[tuple[str, bytes]] = (), body: str = "", rtf: bytes = b"", nested: bytes = b""
) -> bytes:
    """A winmail.dat with long file names among the properties, as Outlook writes it."""

    def attribute(level: int, identifier: int, data: bytes) -> bytes:
        return (
            struct.pack("<BLL", level, identifier, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)
        )

    def variable(kind: int, number: int, data: bytes) -> bytes:
        return struct.pack("<HHLL", kind, number, 1, len(data)) + data + b"\0" * (-len(data) % 4)

    output = struct.pack("<LH", 0x223E9F78, 1) + attribute(1, 0x00089006, b"\x00\x00\x01\x00")
    properties = [
        struct.pack("<HHL", 0x0003, 0x0FFE, 7),
        struct.pack("<HHd", 0x0040, 0x3007, 1.0),
        struct.pack("<HH16sLL", 0x0003, 0x8001, b"g" * 16, 0, 5) + struct.pack("<L", 1),
        struct.pack("<HH16sLL", 0x000B, 0x8002, b"g" * 16, 1, 6)
        + "abc".encode("utf-16-le")
        + b"\0\0"
        + b"\0" * 4,
        struct.pack("<HHLLL", 0x1003, 0x0E01, 2, 1, 2),
    ]
    if body:
        properties.append(variable(0x1F, 0x1000, body.encode("utf-16-le") + b"\0\0"))
    if rtf:
        packed = struct.pack("<LL4sL", len(rtf) + 12, len(rtf), b"MELA", 0) + rtf
        properties.append(variable(0x102, 0x1009, packed))
    output += attribute(1, 0x00069003, struct.pack("<L", len(properties)) + b"".join(properties))
    for name, data in attachments:
        output += attribute(2, 0x00069002, b"\0" * 14)
        output += attribute(2, 0x00018010, b"SHORT~1\0")
        output += attribute(2, 0x0006800F, data)
        output += attribute(
            2, 0x00069005, struct.pack("<L", 1) + variable(0x1F, 0x3707, name.encode("utf-16-le") + b"\0\0")
        )
    if nested:
        output += attribute(2, 0x00069002, b"\0" * 14)
        output += attribute(2, 0x00069005, struct.pack("<L", 1) + variable(0x0D, 0x3701, b"i" * 16 + nested))
    return output


def mail(
    *attachments: tuple[str, bytes],
    text: str = "Beste collega",
    subject: str = "Afspraak",
    kind: str = "application/octet-stream",
) -> bytes:
    message = EmailMessage()
    message["From"] = "doctor@care.test"
    message["Subject"] = subject
    message.set_content(text)
    for name, data in attachments:
        main, _, sub = kind.partition("/")
        message.add_attachment(data, maintype=main, subtype=sub, filename=name)
    return bytes(message).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def parsed(data: bytes) -> tuple[Part, bytes]:
    headers, start = split(data)
    body = data[start:]
    return parse(headers, body, part_limit=1_000, depth_limit=50), body
