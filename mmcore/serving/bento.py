"""What `bentofile.yaml` names: the service over the release that lies beside the package in the Bento."""

from pathlib import Path

from mmcore.serving.service import make_service

service = make_service(Path(__file__).resolve().parents[2] / "release")
