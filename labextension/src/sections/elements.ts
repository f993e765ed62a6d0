/** Small pieces of DOM that the sections share; text always goes in as text. */

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

export interface IRow {
  readonly title: string;
  readonly detail: string;
  readonly state?: string;
  readonly tooltip: string;
  readonly actions: readonly { label: string; symbol: string; run: () => void }[];
}

/** A section: a heading with its count, and a list of rows. */
export function section(heading: string, rows: readonly IRow[], empty: string): HTMLElement {
  const list = element('ul', 'dockerlab-List', ...rows.map(row));
  list.setAttribute('aria-label', heading);
  const title = element('h2', 'dockerlab-Heading', heading);
  title.append(element('span', 'dockerlab-Count', String(rows.length)));
  const body = rows.length > 0 ? list : element('p', 'dockerlab-Empty', empty);
  return element('section', 'dockerlab-Section', title, body);
}

function row(data: IRow): HTMLElement {
  const text = element(
    'div',
    'dockerlab-Text',
    element('div', 'dockerlab-Title', data.title),
    element('div', 'dockerlab-Detail', data.detail)
  );
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
