"""What code in an IPython kernel can see of the kernel."""

SEEN = """
import json, os, sys
from ipykernel import get_connection_file
def look(shell=get_ipython()):
    return {
        "names": sorted(name for name in shell.user_ns if name not in ("look", "get_connection_file")),
        "environment": dict(os.environ), "arguments": sys.argv, "path": sys.path, "folder": os.getcwd(),
        "visited": repr(shell.user_ns["_dh"]), "start": shell.starting_dir, "count": shell.execution_count,
        "history": shell.history_manager.input_hist_parsed, "connection file": get_connection_file(),
        "session": shell.user_ns.get("__session__"), "flags": repr(sys.flags), "events": repr(
            {name: len(callbacks) for name, callbacks in shell.events.callbacks.items()}),
        "configuration": repr((shell.config, shell.kernel.parent.cli_config)),
        "command": [shell.kernel.parent.argv, sys.orig_argv],
        "hidden": sorted(shell.user_ns_hidden), "displayed": shell.displayhook.exec_result is None,
    }
print(json.dumps(look()))
"""
"""Prints it as JSON."""
