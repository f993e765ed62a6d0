/** The containers of the host: what runs first, with the verbs that fit each state. */
import { ContainerVerb, IContainer } from '../api';
import { DockerModel } from '../model';
import { IRow, section } from './elements';

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

export function containersSection(model: DockerModel): HTMLElement {
  const running = (container: IContainer): number => (container.State === 'running' ? 0 : 1);
  const sorted = [...model.state.containers].sort((a, b) => running(a) - running(b));
  return section(
    'Containers',
    sorted.map(container => row(container, model)),
    'None yet. Try %docker run in a cell.'
  );
}

function row(container: IContainer, model: DockerModel): IRow {
  const name = (container.Names[0] ?? container.Id.slice(0, 12)).replace(/^\//, '');
  const ports = container.Ports.filter(port => port.PublicPort !== undefined).map(
    port => `${port.PublicPort}→${port.PrivatePort}`
  );
  return {
    title: name,
    detail: [container.Image, container.Status, ...new Set(ports)].join(' · '),
    state: container.State,
    tooltip: `${name}\n${container.Image}\n${container.Id.slice(0, 12)}`,
    actions: (VERBS[container.State] ?? []).map(verb => ({
      label: verb[0].toUpperCase() + verb.slice(1),
      symbol: SYMBOLS[verb],
      run: () => void model.act('containers', container.Id, verb)
    }))
  };
}
