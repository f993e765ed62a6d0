// The file tree of layers: from lists of entries to the rows that are open. No page in here.

export type Mark = 'a' | 'c' | 'r' | 's'; // added, changed, removed, same
export type Entry = [path: string, kind: string, size: number, mark: Mark, link: string];

export interface Layer {
  number: number;
  digest: string;
  size: number;
  instruction: string;
  entries: Entry[];
}

export interface File {
  name: string;
  path: string;
  kind: string;
  size: number;
  mark: Mark;
  link: string;
  children: Map<string, File>;
}

export interface Row {
  file: File;
  level: number;
  place: number;
  among: number;
}

function folder(name: string, path: string): File {
  return { name, path, kind: 'd', size: 0, mark: 's', link: '', children: new Map() };
}

/** The tree of one layer, or of all layers up to it. */
export function tree(layers: Layer[], until: number, cumulative: boolean): File {
  const root = folder('', '');
  for (const layer of cumulative ? layers.slice(0, until + 1) : [layers[until]]) {
    for (const entry of layer?.entries ?? []) {
      put(root, entry, cumulative && layer.number < until);
    }
  }
  weigh(root);
  return root;
}

function put(root: File, [path, kind, size, mark, link]: Entry, past: boolean): void {
  const parts = path.split('/');
  const name = parts.pop() as string;
  let parent = root;
  for (const part of parts) {
    let next = parent.children.get(part);
    if (!next) {
      next = folder(part, parent.path ? `${parent.path}/${part}` : part);
      parent.children.set(part, next);
    }
    parent = next;
  }
  if (mark === 'r' && past) {
    parent.children.delete(name);
    return;
  }
  const before = parent.children.get(name);
  parent.children.set(name, {
    name,
    path,
    kind,
    size: kind === 'd' && mark !== 'r' ? 0 : size,
    mark: past ? 's' : mark,
    link,
    children: kind === 'd' && mark !== 'r' && before ? before.children : new Map()
  });
}

function weigh(file: File): number {
  for (const child of file.children.values()) {
    const weight = weigh(child);
    file.size += child.mark === 'r' ? 0 : weight;
  }
  return file.size;
}

/** What a layer did, in numbers. */
export function count(layer: Layer | undefined, mark: Mark): number {
  return (layer?.entries ?? []).filter(entry => entry[3] === mark).length;
}

/** The folders to open by themselves: level by level, for as long as the rows stay few. */
export function few(root: File, most: number): Set<string> {
  const open = new Set<string>();
  let level = [root];
  let shown = root.children.size;
  while (level.length) {
    const next = level.flatMap(file => [...file.children.values()]).filter(file => file.children.size);
    shown += next.reduce((sum, file) => sum + file.children.size, 0);
    if (shown > most) {
      break;
    }
    next.forEach(file => open.add(file.path));
    level = next;
  }
  return open;
}

/** What leads to a match: the files that are shown, and their folders. */
export function matches(root: File, shown: (file: File) => boolean): Set<File> {
  const wanted = new Set<File>();
  const look = (file: File): boolean => {
    let found = shown(file);
    for (const child of file.children.values()) {
      found = look(child) || found;
    }
    if (found) {
      wanted.add(file);
    }
    return found;
  };
  look(root);
  return wanted;
}

/** The rows that are open, folders first. */
export function rows(root: File, isOpen: (file: File) => boolean, wanted: Set<File> | null): Row[] {
  const found: Row[] = [];
  const walk = (file: File, level: number): void => {
    const children = [...file.children.values()]
      .filter(child => wanted === null || wanted.has(child))
      .sort((a, b) => Number(b.kind === 'd') - Number(a.kind === 'd') || (a.name < b.name ? -1 : 1));
    children.forEach((child, place) => {
      found.push({ file: child, level, place: place + 1, among: children.length });
      if (child.children.size && isOpen(child)) {
        walk(child, level + 1);
      }
    });
  };
  walk(root, 1);
  return found;
}
