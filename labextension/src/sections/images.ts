/** The images of the host, by their names. */
import { IImage } from '../api';
import { DockerModel } from '../model';
import { IRow, section } from './elements';

export function imagesSection(model: DockerModel): HTMLElement {
  const rows = model.state.images.map(image => row(image, model));
  return section('Images', rows, 'None yet. Try %docker pull in a cell.');
}

function row(image: IImage, model: DockerModel): IRow {
  const id = image.Id.replace(/^sha256:/, '').slice(0, 12);
  const names = image.RepoTags?.length ? image.RepoTags : ['<none>'];
  return {
    title: names.join(', '),
    detail: `${id} · ${size(image.Size)}`,
    tooltip: `${names.join('\n')}\n${image.Id}`,
    actions: [
      {
        label: 'Remove',
        symbol: '✕',
        run: () => void model.act('images', id, 'remove')
      }
    ]
  };
}

/** Docker shows the sizes of images in decimal units. */
function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toPrecision(3)} ${units[unit]}`;
}
