/** The containers of the host: what runs first, with the verbs that fit each state. */
import { ContainerVerb, IContainer } from '../api';
import { IActs, IRow } from './elements';

const VERBS: Record<string, readonly ContainerVerb[]> = {
  created: ['start', 'remove'],
  running: ['pause', 'stop', 'remove'],
  paused: ['unpause', 'remove'],
  restarting: ['stop', 'remove'],
  exited: ['start', 'remove'],
  dead: ['remove']
};
const SYMBOLS: Record<ContainerVerb, string> = {
  start: '▶',
  stop: '■',
  restart: '↻',
  pause: '❚❚',
  unpause: '▶',
  remove: '✕'
};
const ORDER = ['running', 'restarting', 'paused', 'created', 'exited', 'dead'];

export function containerRows(containers: readonly IContainer[], acts: IActs): IRow[] {
  // The sort keeps the host's order, newest first, within a state.
  return [...containers]
    .sort((a, b) => ORDER.indexOf(a.State) - ORDER.indexOf(b.State))
    .map(container => row(container, acts));
}

function row(container: IContainer, acts: IActs): IRow {
  const name = (container.Names[0] ?? container.Id.slice(0, 12)).replace(/^\//, '');
  // One port may be published on IPv4 and IPv6: it is still one port.
  const ports = new Set(
    container.Ports.filter(port => port.PublicPort !== undefined).map(
      port => `${port.PublicPort}→${port.PrivatePort}${port.Type === 'udp' ? '/udp' : ''}`
    )
  );
  const facts = [name, container.Status, container.Image, ...ports, container.Id.slice(0, 12)];
  const danger =
    container.State === 'running'
      ? `${name} is running. It is killed, and what it wrote is lost.`
      : `What ${name} wrote is lost.`;
  return {
    title: name,
    status: container.Status || container.State,
    detail: container.Image,
    badges: [...ports],
    state: container.State,
    tooltip: facts.join('\n'),
    actions: (VERBS[container.State] ?? ['remove']).map(verb => ({
      label: verb[0].toUpperCase() + verb.slice(1),
      symbol: SYMBOLS[verb],
      run: () =>
        verb === 'remove'
          ? acts.remove('containers', container.Id, `container ${name}`, danger)
          : acts.act('containers', container.Id, verb)
    }))
  };
}
