/** The sidebar: draws the model's state, and follows the host only while it can be seen. */
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { DockerModel } from './model';
import { containersSection } from './sections/containers';
import { element } from './sections/elements';
import { imagesSection } from './sections/images';

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
    // A redraw must not take the focus from who works with the keyboard.
    const focused = this.node.contains(document.activeElement)
      ? document.activeElement?.getAttribute('aria-label')
      : null;
    this.node.replaceChildren(
      this.header(),
      containersSection(this.model),
      imagesSection(this.model)
    );
    if (focused) {
      this.node.querySelector<HTMLElement>(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
    }
  }

  private header(): HTMLElement {
    const { host, problem } = this.model.state;
    const header = element('header', 'dockerlab-Header');
    if (problem !== null) {
      const alert = element('div', 'dockerlab-Problem', problem.message);
      alert.setAttribute('role', 'alert');
      alert.append(element('div', 'dockerlab-Hint', problem.hint));
      header.append(alert);
    } else if (host !== null) {
      const name = element('div', 'dockerlab-Host', host.name ?? 'Docker', ` ${host.version}`);
      header.append(name, element('div', 'dockerlab-Detail', host.address));
      header.title = host.why;
    } else {
      header.append(element('div', 'dockerlab-Detail', 'Connecting…'));
    }
    return header;
  }
}
