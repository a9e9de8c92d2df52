"""One profile for hypothesis in every test: reproducible reports, and no verdict by the clock."""

import os

from hypothesis import HealthCheck, settings

FORM = os.environ.get("NTA_MILTER_TESTS")

settings.register_profile(
    "nta-milter",
    deadline=None,
    print_blob=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=1000 if FORM == "all" else 100,
    derandomize=FORM == "ci",  # whether a change may land is no matter of luck; every other run invents anew
)
settings.load_profile("nta-milter")
