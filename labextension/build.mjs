// Make the prebuilt extension out of lib/*.js, which tsc wrote, in ../fps_kernels/labextension.
//
// JupyterLab loads a prebuilt extension as a webpack module federation container: a script that puts
// {init, get} under window._JUPYTERLAB. That is little enough to write by hand: one script with our modules
// as CommonJS functions, whose require() also knows what JupyterLab shares.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';

const here = new URL('./', import.meta.url);
const output = new URL('../fps_kernels/labextension/', here);
const metadata = JSON.parse(readFileSync(new URL('package.json', here), 'utf8'));

const modules = readdirSync(new URL('src/', here))
  .filter(name => !name.endsWith('.d.ts'))
  .sort()
  .map(name => name.replace(/\.ts$/, ''))
  .map(name => {
    const source = readFileSync(new URL(`lib/${name}.js`, here), 'utf8');
    return `${JSON.stringify('./' + name)}(exports, require) {\n${source}}`;
  });

const remoteEntry = `(() => {
'use strict';
const modules = {
${modules.join(',\n')}
};
const main = (${container.toString()})(modules, ${JSON.stringify(metadata.name)});
window._JUPYTERLAB = window._JUPYTERLAB || {};
window._JUPYTERLAB[${JSON.stringify(metadata.name)}] = main;
})();
`;

/** The container. Runs in the browser: it may use nothing of this file. */
function container(modules, name) {
  const shared = ['@jupyterlab/coreutils', '@jupyterlab/notebook', '@jupyterlab/services'];
  let scope;
  let loading;

  function isNewer(version, other) {
    const [a, b] = [version, other].map(text => text.split(/[.+-]/).map(part => parseInt(part, 10) || 0));
    const at = a.findIndex((part, i) => part !== (b[i] || 0));
    return at >= 0 && a[at] > (b[at] || 0);
  }

  // As webpack does for singletons: the version that is in use already, else the highest.
  async function load(key) {
    const versions = scope && scope[key];
    if (!versions || !Object.keys(versions).length) {
      throw new Error(`${name} needs ${key}, which JupyterLab does not share`);
    }
    const chosen = Object.keys(versions).reduce((best, version) => {
      const unused = !versions[best].loaded;
      return unused && (versions[version].loaded || isNewer(version, best)) ? version : best;
    });
    versions[chosen].loaded = 1;
    const factory = await versions[chosen].get();
    return factory();
  }

  async function link() {
    const loaded = Object.fromEntries(await Promise.all(shared.map(async key => [key, await load(key)])));
    const require = key => {
      if (!(key in loaded)) {
        const exports = (loaded[key] = {});
        modules[key](exports, require);
      }
      return loaded[key];
    };
    return require('./index');
  }

  return {
    init(shareScope) {
      scope = shareScope;
    },
    async get(module) {
      if (module !== './extension') {
        throw new Error(`${name} has no module ${module}`);
      }
      loading = loading || link();
      const extension = await loading;
      return () => extension;
    }
  };
}

const hash = createHash('sha256').update(remoteEntry).digest('hex').slice(0, 16);
const load = `static/remoteEntry.${hash}.js`;
const built = {
  name: metadata.name,
  version: metadata.version,
  description: metadata.description,
  license: metadata.license,
  jupyterlab: { extension: true, _build: { load, extension: './extension' } }
};
const install = {
  packageManager: 'python',
  packageName: 'fps_kernels',
  uninstallInstructions: 'Use your Python package manager (pip, conda, etc.) to uninstall the package fps_kernels'
};

rmSync(output, { recursive: true, force: true });
mkdirSync(new URL('static/', output), { recursive: true });
writeFileSync(new URL(load, output), remoteEntry);
writeFileSync(new URL('install.json', output), JSON.stringify(install, null, 2) + '\n');
writeFileSync(new URL('package.json', output), JSON.stringify(built, null, 2) + '\n');
