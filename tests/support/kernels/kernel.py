"""A tiny real kernel for the tests: starts in 0.1 s, runs Python, and misbehaves on demand.

usage: python kernel.py MODE CONNECTION_FILE

Code of an execute_request is Python that finds these names:
    stream(text, name="stdout")          a stream message
    publish(msg_type, content, buffers=(), metadata={}, parent=None)    any iopub message
    reply_input(prompt, password=False)  asks the client on stdin, returns the value
    raw(channel, frames)                 ZMQ frames as they are: "iopub" or "shell" (with the requester's identity)
    kernel.comms, kernel.payload         what clients have sent to comms; the payload of the reply
    request                              the request: idents, header, metadata, content, buffers
MODE is one of MODES; what each does stands beside it.
"""

import hashlib
import hmac
import json
import os
import signal
import sys
import threading
import time
import uuid

import zmq

MODES = {
    "plain": "behaves",
    "silent": "runs, but never answers anything",
    "slow": "answers after 1.5 s, or when there is the file that KERNEL_GATE names",
    "no_status": "answers kernel_info, but publishes nothing for it",
    "ignores_sigterm": "ignores SIGTERM, SIGINT and shutdown_request",
    "exits": "writes two lines to stderr and exits with code 3 at once",
    "message_interrupt": "is interrupted by interrupt_request, not by SIGINT",
    "control_first": "says that it is starting, and answers on shell, after it has answered on control",
    "old_protocol": "speaks version 4.1 of the message spec",
    "no_parents": "publishes with null for a parent_header, and replies with an empty one",
    "bare_parents": "gives back no more of a parent_header than its msg_id",
    "bare_headers": "writes headers of a msg_id, which is a number, and a msg_type",
    "no_replies": "ends an execute_request with idle, and without a reply",
    "no_idle": "is never idle after an execute_request",
    "subshells": "has subshells in name, and drops what is for one that it does not have",
    "klingon": "says that its language is Klingon, though it is Python",
}
DELIMITER = b"<IDS|MSG>"
OLD_TYPES = {"execute_result": "pyout", "execute_input": "pyin", "error": "pyerr"}
"""What version 4 of the message spec calls them."""


class Interrupted(Exception):
    pass


class Kernel:
    def __init__(self, mode: str, config: dict) -> None:
        self.mode = mode
        self.key = config["key"].encode()
        self.session = uuid.uuid4().hex
        self.count = 0
        self.sent = 0
        self.subshells: list = []
        self.lock = threading.Lock()  # iopub is used by two threads
        self.namespace: dict = {}
        self.comms: list[dict] = []  # what clients have sent to comms
        self.payload: list[dict] = []  # of the next reply
        self.parent: dict = {}
        self.busy = False
        self.answered_control = threading.Event()
        context = zmq.Context()
        self.sockets = {}
        kinds = {"shell": zmq.ROUTER, "control": zmq.ROUTER, "stdin": zmq.ROUTER, "iopub": zmq.PUB, "hb": zmq.REP}
        for name, kind in kinds.items():
            socket = context.socket(kind)
            socket.linger = 1000
            socket.sndhwm = 0  # it is the server that is tested: nothing may be lost on this side
            if config.get("curve_publickey"):
                socket.curve_server = True
                socket.curve_secretkey = config["curve_secretkey"].encode()
            separator = ":" if config["transport"] == "tcp" else "-"
            socket.bind(f"{config['transport']}://{config['ip']}{separator}{config[name + '_port']}")
            self.sockets[name] = socket

    def pack(self, msg_type: str, content: dict, parent: dict | None, buffers=(), metadata=None) -> list[bytes]:
        header: dict = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": msg_type,
            "username": "kernel",
            "session": self.session,
            "date": "2026-01-01T00:00:00.000000Z",
            "version": "5.4",
        }
        if self.mode == "old_protocol":
            del header["version"]
            header["msg_type"] = OLD_TYPES.get(msg_type, msg_type)
            if msg_type == "stream":
                content = {"name": content["name"], "data": content["text"]}
        if self.mode == "bare_headers":
            self.sent += 1
            header = {"msg_id": self.sent, "msg_type": msg_type}
        if self.mode == "bare_parents" and parent:
            parent = {"msg_id": parent["msg_id"]}
        if self.mode == "no_parents":
            parent = {} if msg_type.endswith(("_reply", "input_request")) else None
        parts = [json.dumps(part).encode() for part in (header, parent, metadata or {}, content)]
        signature = hmac.new(self.key, b"".join(parts), hashlib.sha256).hexdigest().encode() if self.key else b""
        return [DELIMITER, signature, *parts, *buffers]

    def publish(self, msg_type: str, content: dict, buffers=(), metadata=None, parent=None) -> None:
        parent = self.parent if parent is None else parent
        with self.lock:
            frames = self.pack(msg_type, content, parent, buffers, metadata)
            self.sockets["iopub"].send_multipart([msg_type.encode(), *frames])

    def stream(self, text: str, name: str = "stdout") -> None:
        self.publish("stream", {"name": name, "text": text})

    def raw(self, channel: str, frames: list[bytes]) -> None:
        if channel == "iopub":
            with self.lock:
                self.sockets["iopub"].send_multipart(frames)
        else:
            self.sockets[channel].send_multipart([*self.request["idents"], *frames])

    def reply_input(self, prompt: str, password: bool = False) -> str:
        frames = self.pack("input_request", {"prompt": prompt, "password": password}, self.parent)
        self.sockets["stdin"].send_multipart([*self.request["idents"], *frames])
        return self.unpack(self.sockets["stdin"].recv_multipart())["content"]["value"]

    @staticmethod
    def unpack(frames: list[bytes]) -> dict:
        index = frames.index(DELIMITER)
        header, _, metadata, content = map(json.loads, frames[index + 2 : index + 6])
        return {
            "idents": frames[:index],
            "header": header,
            "metadata": metadata,
            "content": content,
            "buffers": frames[index + 6 :],
        }

    def reply(self, channel: str, request: dict, content: dict) -> None:
        msg_type = request["header"]["msg_type"].replace("_request", "_reply")
        self.sockets[channel].send_multipart([*request["idents"], *self.pack(msg_type, content, request["header"])])

    def info(self) -> dict:
        if self.mode == "old_protocol":
            return {"protocol_version": [4, 1], "language": "python", "language_version": [2, 7]}
        language = "Klingon" if self.mode == "klingon" else "python"
        return {
            "status": "ok",
            "protocol_version": "5.4",
            "implementation": "tiny",
            "implementation_version": "1",
            "language_info": {"name": language, "version": "3", "mimetype": "text/x-python", "file_extension": ".py"},
            "banner": "",
            "help_links": [],
        }

    def execute(self, request: dict) -> dict:
        content = request["content"]
        if not content.get("silent"):
            self.count += 1
            self.publish("execute_input", {"code": content["code"], "execution_count": self.count})
        names = {"stream": self.stream, "publish": self.publish, "reply_input": self.reply_input, "raw": self.raw}
        self.namespace |= names | {"request": request, "kernel": self}
        self.busy = True
        try:
            exec(content["code"], self.namespace)
        except (Exception, KeyboardInterrupt) as exc:
            error = {"ename": type(exc).__name__, "evalue": str(exc), "traceback": [repr(exc)]}
            self.publish("error", error)
            return {"status": "error", "execution_count": self.count, **error}
        finally:
            self.busy = False
        payload, self.payload = self.payload, []
        return {"status": "ok", "execution_count": self.count, "user_expressions": {}, "payload": payload}

    def handle(self, channel: str, frames: list[bytes]) -> None:
        request = self.unpack(frames)
        header = request["header"]
        msg_type = header["msg_type"]
        if self.mode == "slow":
            gate = os.environ.get("KERNEL_GATE")
            time.sleep(0 if gate else 1.5)
            while gate and not os.path.exists(gate):
                time.sleep(0.02)
            self.mode = "plain"
        if self.mode == "subshells":
            if header.get("subshell_id") not in (None, *self.subshells):
                return
            if msg_type.endswith("_subshell_request"):
                self.change_subshells(channel, request)
                return
        quiet = self.mode == "no_status" and msg_type == "kernel_info_request"
        if channel == "shell":
            self.parent, self.request = header, request
        if not quiet:
            self.publish("status", {"execution_state": "busy"}, parent=header)
        if msg_type == "kernel_info_request":
            self.reply(channel, request, self.info())
        elif msg_type == "execute_request":
            reply = self.reply  # which the code may replace for the next one
            content = self.execute(request)
            if self.mode != "no_replies":
                reply(channel, request, content)
            quiet = self.mode == "no_idle"
        elif msg_type == "complete_request":
            if self.mode == "old_protocol":
                matches = {"matches": [f"{request['content']['line']}y"], "matched_text": request["content"]["line"]}
            else:
                matches = {"matches": ["tiny"], "cursor_start": 0, "cursor_end": 0, "metadata": {}}
            self.reply(channel, request, {"status": "ok", **matches})
        elif msg_type == "inspect_request":
            found = {"found": True, "data": {"text/plain": "tiny"}, "metadata": {}}
            self.reply(channel, request, {"status": "ok", **found})
        elif msg_type == "object_info_request":
            name = request["content"]["oname"]
            self.reply(channel, request, {"oname": name, "found": True, "docstring": f"about {name}"})
        elif msg_type == "shutdown_request":
            if self.mode != "ignores_sigterm":
                self.reply(channel, request, {"status": "ok", "restart": request["content"]["restart"]})
                self.publish("status", {"execution_state": "idle"}, parent=header)
                time.sleep(0.05)
                os._exit(0)
        elif msg_type == "interrupt_request":
            self.reply(channel, request, {"status": "ok"})
            if self.busy and self.mode == "message_interrupt":
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        elif msg_type == "comm_msg":
            # An echo with its buffers turned round.
            self.comms.append(request["content"])
            content = {"comm_id": request["content"].get("comm_id", ""), "data": request["content"].get("data", {})}
            self.publish("comm_msg", content, [buffer[::-1] for buffer in request["buffers"]])
        elif msg_type.endswith("_request"):
            self.reply(channel, request, {"status": "ok"})
        if not quiet:
            self.publish("status", {"execution_state": "idle"}, parent=header)
        if channel == "control":
            self.answered_control.set()

    def change_subshells(self, channel: str, request: dict) -> None:
        content: dict = {"status": "ok"}
        match request["header"]["msg_type"]:
            case "create_subshell_request":
                content["subshell_id"] = uuid.uuid4().hex
                self.subshells.append(content["subshell_id"])
            case "delete_subshell_request":
                self.subshells.remove(request["content"]["subshell_id"])
            case "list_subshell_request":
                content["subshell_id"] = self.subshells
        self.publish("status", {"execution_state": "busy"}, parent=request["header"])
        self.reply(channel, request, content)
        self.publish("status", {"execution_state": "idle"}, parent=request["header"])

    def serve(self, channel: str) -> None:
        while True:
            try:
                frames = self.sockets[channel].recv_multipart()
                if self.mode != "silent":
                    self.handle(channel, frames)
            except (KeyboardInterrupt, Interrupted):
                continue

    def heartbeat(self) -> None:
        while True:
            self.sockets["hb"].send(self.sockets["hb"].recv())

    def run(self) -> None:
        def interrupt(signum: int, _: object) -> None:
            if self.busy:  # else it would cost the request that has just been taken
                raise KeyboardInterrupt if signum == signal.SIGINT else Interrupted("interrupted")

        signal.signal(signal.SIGUSR1, interrupt)
        signal.signal(signal.SIGINT, signal.SIG_IGN if self.mode == "message_interrupt" else interrupt)
        if self.mode == "ignores_sigterm":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=self.serve, args=["control"], daemon=True).start()
        threading.Thread(target=self.heartbeat, daemon=True).start()
        if self.mode == "control_first":
            self.answered_control.wait()
            time.sleep(0.2)
        if self.mode != "no_status":
            self.publish("status", {"execution_state": "starting"}, parent={})
        self.serve("shell")


def end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    mode, connection_file = sys.argv[1:]
    assert mode in MODES
    if "JPY_PARENT_PID" in os.environ:
        threading.Thread(target=end_with_parent, args=[os.getppid()], daemon=True).start()
    if mode == "exits":
        print("first line of stderr\nImportError: no module named tiny", file=sys.stderr)
        sys.exit(3)
    with open(connection_file) as file:
        Kernel(mode, json.load(file)).run()
