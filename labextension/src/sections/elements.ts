/** Small pieces of DOM that the sections share; text always goes in as text. */
import { ContainerVerb } from '../api';

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

/** What a row may ask for; removing asks the person first. */
export interface IActs {
  act(noun: 'containers' | 'images', id: string, verb: ContainerVerb): void;
  remove(noun: 'containers' | 'images', id: string, what: string, consequence: string): void;
}

export interface IRow {
  readonly title: string;
  /** Never cut: it stands before what may be long. */
  readonly status: string;
  readonly detail: string;
  readonly badges: readonly string[];
  readonly state?: string;
  readonly tooltip: string;
  readonly actions: readonly { label: string; symbol: string; run: () => void }[];
}

export interface ISection {
  readonly heading: string;
  readonly rows: readonly IRow[];
  readonly empty: string;
  readonly collapsed: boolean;
  readonly toggle: () => void;
}

/** A section: a heading with its count that folds it, and a list of rows. */
export function section(data: ISection): HTMLElement {
  const toggle = element(
    'button',
    'dockerlab-Toggle',
    hidden(data.collapsed ? '▸' : '▾'),
    element('span', 'dockerlab-Name', data.heading),
    element('span', 'dockerlab-Count', String(data.rows.length))
  );
  toggle.setAttribute('aria-expanded', String(!data.collapsed));
  toggle.setAttribute('aria-label', `${data.heading}, ${data.rows.length}`);
  toggle.addEventListener('click', data.toggle);
  const made = element('section', 'dockerlab-Section', element('h2', 'dockerlab-Heading', toggle));
  if (!data.collapsed) {
    made.append(body(data));
  }
  return made;
}

function body(data: ISection): HTMLElement {
  if (!data.rows.length) {
    return element('p', 'dockerlab-Empty', data.empty);
  }
  const list = element('ul', 'dockerlab-List', ...data.rows.map(row));
  list.setAttribute('aria-label', data.heading);
  return list;
}

function row(data: IRow): HTMLElement {
  const facts = element('div', 'dockerlab-Facts', element('span', 'dockerlab-Status', data.status));
  facts.append(element('span', 'dockerlab-Detail', data.detail));
  facts.append(...data.badges.map(badge => element('span', 'dockerlab-Badge', badge)));
  const text = element('div', 'dockerlab-Text', element('div', 'dockerlab-Title', data.title), facts);
  text.title = data.tooltip;
  const buttons = data.actions.map(action => {
    const button = element('button', 'dockerlab-Action', action.symbol);
    button.title = action.label;
    button.setAttribute('aria-label', `${action.label} ${data.title}`);
    button.addEventListener('click', action.run);
    return button;
  });
  const item = element('li', 'dockerlab-Row');
  if (data.state) {
    const dot = element('span', `dockerlab-Dot dockerlab-mod-${data.state}`);
    dot.setAttribute('role', 'img');
    dot.setAttribute('aria-label', data.state);
    item.append(dot);
  }
  item.append(text, element('div', 'dockerlab-Actions', ...buttons));
  return item;
}

/** A sign for the eye only. */
function hidden(sign: string): HTMLElement {
  const node = element('span', 'dockerlab-Sign', sign);
  node.setAttribute('aria-hidden', 'true');
  return node;
}
