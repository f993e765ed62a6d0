/** The bridge's routes, as typed calls; the only file that fetches. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

export interface IHost {
  address: string;
  why: string;
  name?: string;
  version: string;
  api: string;
}

export interface IContainer {
  Id: string;
  Names: string[];
  Image: string;
  State: string;
  Status: string;
  Ports: { IP?: string; PrivatePort: number; PublicPort?: number; Type: string }[];
}

export interface IImage {
  Id: string;
  RepoTags: string[] | null;
  Size: number;
  Created: number;
}

export interface IDockerEvent {
  Type: string;
  Action: string;
}

export type ContainerVerb = 'start' | 'stop' | 'restart' | 'pause' | 'unpause' | 'remove';

/** What went wrong and what to do, as the bridge tells it. */
export class BridgeError extends Error {
  constructor(
    message: string,
    readonly hint: string
  ) {
    super(message);
  }
}

export class BridgeApi {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  host = (): Promise<IHost> => this.get('host');
  containers = (): Promise<IContainer[]> => this.get('containers');
  images = (): Promise<IImage[]> => this.get('images');

  async act(noun: 'containers' | 'images', id: string, verb: ContainerVerb): Promise<void> {
    await this.request(`${noun}/${encodeURIComponent(id)}/${verb}`, { method: 'POST' });
  }

  /**
   * Calls `heard` for each event until `signal` aborts or the server ends the stream;
   * `opened` as soon as no event can be missed any more.
   */
  async events(
    opened: () => void,
    heard: (event: IDockerEvent) => void,
    signal: AbortSignal
  ): Promise<void> {
    const response = await this.request('events', { signal });
    opened();
    const reader = response.body!.getReader();
    const decoder = new TextDecoder();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
      rest = lines.pop()!;
      lines.filter(line => line.length > 0).forEach(line => heard(JSON.parse(line)));
    }
  }

  private async get<T>(path: string): Promise<T> {
    return (await this.request(path, {})).json();
  }

  private async request(path: string, init: RequestInit): Promise<Response> {
    const url = URLExt.join(this.settings.baseUrl, 'dockerlab', path);
    const response = await ServerConnection.makeRequest(url, init, this.settings);
    if (!response.ok) {
      const told = await response.json().catch(() => ({}));
      throw new BridgeError(told.message ?? response.statusText, told.hint ?? '');
    }
    return response;
  }
}
