"""One profile for hypothesis in every test: reproducible reports, and no verdict by the clock."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "nta-milter",
    deadline=None,
    print_blob=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=1000 if os.environ.get("NTA_MILTER_TESTS") == "all" else 100,
)
settings.load_profile("nta-milter")
