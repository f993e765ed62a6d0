/** What the panel shows, kept fresh by the host's events; knows nothing of the DOM. */
import { ISignal, Signal } from '@lumino/signaling';

import { BridgeApi, BridgeError, ContainerVerb, IContainer, IHost, IImage } from './api';

const SETTLE_MS = 50;
const AFTER_MS = 2000;
const AGES_MS = 20000;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30000;

export interface IDockerState {
  readonly host: IHost | null;
  readonly containers: readonly IContainer[];
  readonly images: readonly IImage[];
  readonly problem: { message: string; hint: string } | null;
}

export class DockerModel {
  constructor(private readonly api: BridgeApi) {}

  get state(): IDockerState {
    return this._state;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Follow the host while somebody looks; idempotent. */
  watch(): void {
    if (this._watching === null) {
      this._watching = new AbortController();
      // "Up 5 seconds" grows old without any event.
      this._ages = window.setInterval(() => void this.refresh(), AGES_MS);
      void this.follow(this._watching.signal);
    }
  }

  /** Stop following: nobody looks. */
  rest(): void {
    this._watching?.abort();
    this._watching = null;
    window.clearInterval(this._ages);
    window.clearTimeout(this._settling);
    window.clearTimeout(this._after);
    this._settling = 0;
  }

  async refresh(): Promise<void> {
    const turn = ++this._turn;
    try {
      const { host, problem } = this._state;
      const [known, containers, images] = await Promise.all([
        host === null || problem !== null ? this.api.host() : host,
        this.api.containers(),
        this.api.images()
      ]);
      // A slow answer must not overwrite a newer one.
      if (turn === this._turn) {
        this.become({ host: known, containers, images, problem: null });
      }
    } catch (error) {
      this.fail(error);
    }
  }

  async act(noun: 'containers' | 'images', id: string, verb: ContainerVerb): Promise<void> {
    try {
      await this.api.act(noun, id, verb);
      await this.refresh();
    } catch (error) {
      this.fail(error);
    }
  }

  private async follow(signal: AbortSignal): Promise<void> {
    let pause = FIRST_RETRY_MS;
    while (!signal.aborted) {
      try {
        await this.api.events(
          () => void this.refresh(),
          () => {
            pause = FIRST_RETRY_MS;
            this.settle();
          },
          signal
        );
      } catch (error) {
        if (!signal.aborted) {
          this.fail(error);
        }
      }
      await new Promise(resolve => window.setTimeout(resolve, signal.aborted ? 0 : pause));
      pause = Math.min(2 * pause, LONGEST_RETRY_MS);
    }
  }

  /** One refresh for a burst of events: a `docker run` alone makes five. */
  private settle(): void {
    // And one when it is over: "Up Less than a second" should not stand there for long.
    window.clearTimeout(this._after);
    this._after = window.setTimeout(() => void this.refresh(), AFTER_MS);
    if (this._settling === 0) {
      this._settling = window.setTimeout(() => {
        this._settling = 0;
        void this.refresh();
      }, SETTLE_MS);
    }
  }

  private fail(error: unknown): void {
    const hint = error instanceof BridgeError ? error.hint : 'Is the Jupyter server still there?';
    const message = error instanceof Error ? error.message : String(error);
    this.become({ ...this._state, problem: { message, hint } });
  }

  private become(state: IDockerState): void {
    this._state = state;
    this._changed.emit();
  }

  private _state: IDockerState = { host: null, containers: [], images: [], problem: null };
  private _changed = new Signal<this, void>(this);
  private _watching: AbortController | null = null;
  private _settling = 0;
  private _after = 0;
  private _ages = 0;
  private _turn = 0;
}
