"""The component under the name that entry points and users know."""

from .hosts.asphalt.component import KernelsComponent as KernelsComponent
