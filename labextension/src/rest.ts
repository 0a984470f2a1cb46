import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** Somewhere a kernel waits for a line of input. */
export interface InputRequest {
  request_id: string;
  document_id: string;
  cell_id: string;
  prompt: string;
  password: boolean;
}

export interface Registration {
  expires_in_s: number;
  pending: InputRequest[];
}

/**
 * What became of a registration: `unsupported` is for good, `unknown` is that there is no such kernel
 * (now), `failed` is a server or a network that may work again.
 */
export type Registered = Registration | 'unsupported' | 'unknown' | 'failed';

/** The server's REST API for input, as one page uses it. */
export class StdinClient {
  private readonly settings = ServerConnection.makeSettings();
  private readonly clientId = randomId();
  private readonly unsupported = new Set<string>();

  /** Say, or say again, that this page answers for a kernel, and get what is pending. Never rejects. */
  async register(kernelId: string): Promise<Registered> {
    if (this.unsupported.has(kernelId)) {
      return 'unsupported';
    }
    try {
      const response = await this.request(kernelId, ['stdin', this.clientId], { method: 'PUT' });
      switch (response.status) {
        case 200:
          return (await response.json()) as Registration;
        case 405: // a server that does not have this API at all
        case 501:
          this.unsupported.add(kernelId);
          return 'unsupported';
        case 404:
          return 'unknown';
        default:
          return 'failed';
      }
    } catch {
      return 'failed';
    }
  }

  /** Say that this page no longer answers. Never rejects: the registration expires anyway. */
  async unregister(kernelId: string): Promise<void> {
    // keepalive: also called while the page goes away.
    const init = { method: 'DELETE', keepalive: true };
    await this.request(kernelId, ['stdin', this.clientId], init).catch(() => undefined);
  }

  /** Answer. True when nothing waits any more, by this answer or before; false when it may be tried again. */
  async answer(kernelId: string, requestId: string, value: string): Promise<boolean> {
    const init = { method: 'POST', body: JSON.stringify({ value }) };
    try {
      const response = await this.request(kernelId, ['requests', requestId, 'input'], init);
      return response.ok || response.status === 404 || response.status === 409;
    } catch {
      return false;
    }
  }

  private request(kernelId: string, path: string[], init: RequestInit): Promise<Response> {
    const parts = [kernelId, ...path].map(encodeURIComponent);
    const url = URLExt.join(this.settings.baseUrl, 'api/kernels', ...parts);
    return ServerConnection.makeRequest(url, init, this.settings);
  }
}

/** crypto.randomUUID would need a secure context, and servers are also reached by plain HTTP. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}
