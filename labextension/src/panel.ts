/** The sidebar: draws the model's state, and follows the host only while it can be seen. */
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { confirmRemoval } from './confirm';
import { DockerModel } from './model';
import { containerRows } from './sections/containers';
import { element, IActs, IRow, section } from './sections/elements';
import { imageRows } from './sections/images';

export class DockerPanel extends Widget {
  constructor(private readonly model: DockerModel) {
    super();
    this.id = 'dockerlab-panel';
    this.addClass('dockerlab-Panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Containers and images');
    model.changed.connect(this.update, this);
  }

  protected onAfterShow(_: Message): void {
    this.model.watch();
  }

  protected onAfterHide(_: Message): void {
    this.model.rest();
  }

  protected onUpdateRequest(_: Message): void {
    // A redraw must not take the focus or the place from who works here.
    const focused = this.node.contains(document.activeElement)
      ? document.activeElement?.getAttribute('aria-label')
      : null;
    const top = this.node.scrollTop;
    const { containers, images } = this.model.state;
    this.node.replaceChildren(this.header());
    if (this.model.state.host !== null) {
      this.node.append(
        this.section('Containers', containerRows(containers, this._acts), 'None yet. Try %docker run in a cell.'),
        this.section('Images', imageRows(images, this._acts), 'None yet. Try %docker pull in a cell.')
      );
    }
    this.node.scrollTop = top;
    if (focused) {
      this.node.querySelector<HTMLElement>(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
    }
  }

  private section(heading: string, rows: readonly IRow[], empty: string): HTMLElement {
    const collapsed = this._collapsed.has(heading);
    const toggle = (): void => {
      this._collapsed.delete(heading) || this._collapsed.add(heading);
      this.update();
    };
    return section({ heading, rows, empty, collapsed, toggle });
  }

  private header(): HTMLElement {
    const { host, problem } = this.model.state;
    const header = element('header', 'dockerlab-Header');
    if (host !== null) {
      const name = host.name || 'Docker';
      // Our engine's name has its version in it; the other one is what clients take it for.
      const title = /\d/.test(name) ? name : `${name} ${host.version}`;
      const detail = element('div', 'dockerlab-Detail', `API ${host.api} · ${host.address}`);
      header.append(element('div', 'dockerlab-Host', title), detail);
      header.title = [title, host.address, host.why].join('\n');
    } else if (problem === null) {
      header.append(element('div', 'dockerlab-Detail', 'Connecting…'));
    }
    if (problem !== null) {
      header.append(this.problem(problem));
    }
    return header;
  }

  private problem(problem: { message: string; hint: string }): HTMLElement {
    const retry = element('button', 'dockerlab-Retry', 'Try again');
    retry.addEventListener('click', () => void this.model.refresh());
    const alert = element('div', 'dockerlab-Problem', element('div', 'dockerlab-Message', problem.message));
    alert.setAttribute('role', 'alert');
    if (problem.hint) {
      alert.append(element('div', 'dockerlab-Hint', problem.hint));
    }
    alert.append(retry);
    return alert;
  }

  private readonly _collapsed = new Set<string>();
  private readonly _acts: IActs = {
    act: (noun, id, verb) => void this.model.act(noun, id, verb),
    remove: async (noun, id, what, consequence) => {
      if (await confirmRemoval(what, consequence)) {
        await this.model.act(noun, id, 'remove');
      }
    }
  };
}
