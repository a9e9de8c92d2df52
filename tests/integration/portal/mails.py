"""Messages as the milter stores them, of made-up people."""

from __future__ import annotations

import random
from email.message import EmailMessage
from email.policy import SMTP

TEXT = """Beste meneer Jansen,

De uitslag van uw bloedonderzoek is binnen. De waarden zijn goed: uw bloedsuiker is gedaald en de \
nierfunctie is stabiel. U kunt doorgaan met de medicijnen zoals we hebben besproken.

In de bijlage vindt u het overzicht van het laboratorium. Hebt u vragen? U kunt dit bericht veilig \
beantwoorden.

Met vriendelijke groet,
Anna de Vries, huisarts
"""

HTML = """<html><head><style>body { color: green }</style></head><body>
<p>Beste meneer Jansen,</p>
<p>De uitslag van uw <b style="color: #7a1f1f">bloedonderzoek</b> is binnen. De waarden zijn goed.</p>
<table border="1" cellpadding="6"><tr><th scope="col">Waarde</th><th scope="col">Uitslag</th></tr>
<tr><td>HbA1c</td><td>48 mmol/mol</td></tr><tr><td>eGFR</td><td>71 ml/min</td></tr></table>
<p><img src="cid:logo@care.test" alt="Logo" width="48" height="48"></p>
<p><a href="https://care.test/uitleg">Uitleg over de waarden</a></p>
<script>alert(1)</script><img src="https://tracker.test/open.gif" alt="">
</body></html>
"""

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003"
    "0101006f49f5330000000049454e44ae426082"
)


def pseudo_random(size: int, seed: int = 7516) -> bytes:
    return random.Random(seed).randbytes(size)


def message(
    *,
    subject: str = "Uitslag van uw bloedonderzoek",
    text: str = TEXT,
    html: str | None = None,
    files: dict[str, bytes] | None = None,
) -> bytes:
    mail = EmailMessage(SMTP)
    mail["From"] = '"Dr. A. de Vries" <doctor@care.test>'
    mail["To"] = "Jan Jansen <jan@citizen.test>"
    mail["Subject"] = subject
    mail["Date"] = "Tue, 24 Nov 2026 10:15:00 +0100"
    mail["Message-ID"] = "<original@care.test>"
    mail.set_content(text, cte="quoted-printable")
    if html is not None:
        mail.add_alternative(html, subtype="html", cte="quoted-printable")
        mail.get_payload()[1].add_related(PNG, "image", "png", cid="<logo@care.test>")
    for name, content in (files or {}).items():
        mail.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return mail.as_bytes()
