"""Provisioners that note what they are given, as those of remote kernels use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Unicode

ENTRY_POINTS = """\
[jupyter_client.kernel_provisioners]
noting = noting_provisioner:NotingProvisioner
missing = noting_provisioner:NoSuchClass
"""


class NotingProvisioner(LocalProvisioner):
    """Starts kernels on this machine, and has them know what it knew before their launch."""

    noted = Unicode("KERNEL_USERNAME", config=True)
    label = Unicode("", config=True)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        seen = kwargs["env"].get(self.noted, "nobody")
        kwargs = await super().pre_launch(**kwargs)
        kwargs["env"] |= {"SEEN_BY_PROVISIONER": f"{self.label}{seen}", "KERNEL_CHANGED": "by the provisioner"}
        return kwargs


def install(folder: Path) -> Path:
    """Make the provisioners known to whoever has the folder in its sys.path."""
    info = folder / "noting_provisioner-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: noting-provisioner\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "noting_provisioner.py").write_text(Path(__file__).read_text())
    return folder
