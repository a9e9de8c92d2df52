"""``check --probe`` inside the laboratory: a real Postfix with a real certificate."""

import json


def test_a_real_host_passes_the_probe(laboratory):
    status, output = laboratory.nta_milter("check", "hospital.test", "--probe", "--json")
    described = json.loads(output)
    assert (status, described["status"]) == (0, "compliant")
    assert [(each["host"], each["passed"]) for each in described["probes"]] == [("nta.hospital.test", True)]
    assert described["probes"][0]["matched"] in described["hosts"][0]["tlsa"]


def test_a_person_sees_the_connection(laboratory):
    status, output = laboratory.nta_milter("check", "hospital.test", "--probe")
    assert status == 0
    assert "ok   probe of nta.hospital.test" in output
    assert "TLSv1.3" in output
