// What a page of JupyterLab does, with its own client: `node services.mjs URL TOKEN HEADERS`.
// TOKEN may be empty. HEADERS, as JSON, are those that a browser adds by itself, and the XSRF token that a page sends.
// Prints a line of JSON for each step, with what it saw; the client itself prints other lines.
import events from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import timers from 'node:timers/promises';

import services from '@jupyterlab/services';
import WebSocket from 'ws';

const [url, token, headers] = process.argv.slice(2);
const { 'X-XSRFToken': xsrf, ...own } = JSON.parse(headers);

/** The network of a page; while it is down, nobody listens where connections go. */
class Network extends WebSocket {
  static down = false;
  static last;

  constructor(url, protocols) {
    super(Network.down ? 'ws://127.0.0.1:1' : url, protocols, { headers: own });
    Network.last = this;
  }
}

/** Fetches as a browser does, whose cookies are for pages neither to set nor to see. */
function fetchAsBrowser(request) {
  const safe = ['GET', 'HEAD', 'OPTIONS'].includes(request.method);
  const added = xsrf === undefined || safe ? own : { ...own, 'X-XSRFToken': xsrf };
  Object.entries(added).forEach(([name, value]) => request.headers.set(name, value));
  return fetch(request);
}

const serverSettings = services.ServerConnection.makeSettings({
  baseUrl: url,
  wsUrl: url.replace('http', 'ws'),
  token,
  appendToken: true,
  fetch: fetchAsBrowser,
  WebSocket: Network
});

function say(step, seen) {
  console.log(JSON.stringify({ step, ...seen }));
}

/**
 * Executes code; gives its outputs, as pairs of type and text, with its reply.
 * What a stream says is joined, as a page does it: a kernel may cut it anywhere, a `print` too.
 * onFirst: is called at the first output. answer: to what the code asks for.
 */
async function execute(kernel, code, { onFirst, answer } = {}) {
  const future = kernel.requestExecute({ code, allow_stdin: answer !== undefined });
  const outputs = [];
  future.onIOPub = ({ header, content }) => {
    const text = content.text ?? content.ename ?? content.data?.['text/plain'];
    if (text === undefined) {
      return;
    }
    const last = outputs.at(-1);
    if (header.msg_type === 'stream' && last?.[0] === 'stream') {
      last[1] += text;
      return;
    }
    outputs.push([header.msg_type, text]);
    if (outputs.length === 1) {
      onFirst?.();
    }
  };
  future.onStdin = ({ header, content }) => {
    outputs.push([header.msg_type, content.prompt]);
    kernel.sendInputReply({ status: 'ok', value: answer }, header);
  };
  const { content } = await future.done;
  return { outputs, status: content.status, count: content.execution_count };
}

const specs = new services.KernelSpecManager({ serverSettings });
const kernels = new services.KernelManager({ serverSettings });
const sessions = new services.SessionManager({ serverSettings, kernelManager: kernels });

async function list() {
  await Promise.all([kernels.refreshRunning(), sessions.refreshRunning()]);
  return {
    kernels: Array.from(kernels.running(), model => model.id),
    sessions: Array.from(sessions.running(), model => model.path)
  };
}

const options = { path: 'a.ipynb', name: 'a.ipynb', type: 'notebook', kernel: { name: 'python3' } };
const session = await sessions.startNew(options).catch(error => {
  say('refused', { status: error.response?.status });
  process.exit();
});
await specs.ready;
say('specs', { default: specs.specs.default, language: specs.specs.kernelspecs.python3.language });

const kernel = session.kernel;
const info = await kernel.info;
say('started', { id: kernel.id, name: kernel.name, language: info.language_info.name, ...(await list()) });

say('executed', await execute(kernel, "print('out', flush=True)\ndisplay(1)\n6 * 7"));
say('failed', await execute(kernel, '1 / 0'));
say('asked', await execute(kernel, "print('hello', input('name? '))", { answer: 'Ada' }));

const loop = "import time\nprint('asleep', flush=True)\nwhile True: time.sleep(0.05)";
say('interrupted', await execute(kernel, loop, { onFirst: () => kernel.interrupt() }));

await execute(kernel, 'x = 1');
await kernel.restart();
say('restarted', await execute(kernel, "print('x' in globals())"));

await execute(kernel, 'x = 2');
await kernel.reconnect();
say('reconnected', await execute(kernel, 'print(x)'));

// Files tell the cell what the page did, and the page what the cell did.
const file = name => path.resolve(name);
const steps = `import os, time

def wait_for(file):
    while not os.path.exists(file):
        time.sleep(0.05)

print('before', flush=True)
wait_for('${file('down')}')
print('meanwhile', flush=True)
open('${file('said')}', 'w').close()
wait_for('${file('up')}')
print('after')`;

async function cut() {
  Network.down = true;
  const closed = events.once(Network.last, 'close');
  Network.last.close();
  await closed;
  fs.writeFileSync(file('down'), '');
  while (!fs.existsSync(file('said'))) {
    await timers.setTimeout(50);
  }
  Network.down = false;
  // By itself: its own reconnect() is in the way of those that are under way, and what is on its way to a
  // connection that the client replaces is lost.
  while (kernel.connectionStatus !== 'connected') {
    await timers.setTimeout(50);
  }
  fs.writeFileSync(file('up'), '');
}
say('cut', await execute(kernel, steps, { onFirst: cut }));

await execute(
  kernel,
  `from comm import get_comm_manager

def opened(comm, _):
    @comm.on_msg
    def received(message):
        comm.send(message['content']['data'], buffers=[bytes(message['buffers'][0])[::-1]])

get_comm_manager().register_target('mirror', opened)`
);
const comm = kernel.createComm('mirror');
const mirrored = new Promise(resolve => (comm.onMsg = resolve));
await comm.open().done;
await comm.send({ word: 'ü' }, {}, [Uint8Array.of(1, 2, 3).buffer]).done;
const { content, buffers } = await mirrored;
say('comm', { data: content.data, bytes: Array.from(new Uint8Array(buffers[0].buffer)) });

const others = new services.KernelManager({ serverSettings });
await others.ready;
const joined = others.connectTo({ model: await others.findById(kernel.id) });
say('joined', await execute(joined, 'print(x)'));
joined.dispose();

await session.setPath('b.ipynb');
say('renamed', await list());

await session.shutdown();
say('ended', { disposed: kernel.isDisposed, ...(await list()) });

// The managers would poll on.
process.exit();
