"""A plugin of pytest: jupyter_server's own tests, run in process with the managers and connections of this package."""

import jupyter_server.gateway.managers  # noqa: F401 - derives from classes whose names are changed below
from jupyter_server import serverapp
from jupyter_server.services.kernels import kernelmanager

from fps_kernels.hosts.jupyter_server.mapping_manager import FpsMappingKernelManager
from fps_kernels.hosts.jupyter_server.websocket_connection import FpsWebSocketConnection

kernelmanager.AsyncMappingKernelManager = serverapp.AsyncMappingKernelManager = FpsMappingKernelManager
serverapp.ZMQChannelsWebsocketConnection = FpsWebSocketConnection
