"""mmcore: an MLOps platform for multimodal models.

Importing the package does one thing: it switches the telemetry of the tools below off, so that a bare
stage, a worker and a Bento all have it off. A variable that the user has set is left alone.
"""

import os

__version__ = "0.1.0"

for _name, _value in {
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}.items():
    os.environ.setdefault(_name, _value)
