/** The images of the host, by their names. */
import { IImage } from '../api';
import { IActs, IRow } from './elements';

export function imageRows(images: readonly IImage[], acts: IActs): IRow[] {
  return images.map(image => row(image, acts));
}

function row(image: IImage, acts: IActs): IRow {
  const id = image.Id.replace(/^sha256:/, '').slice(0, 12);
  const names = image.RepoTags?.length ? image.RepoTags : ['<none>'];
  return {
    title: names.join(', '),
    status: size(image.Size),
    detail: id,
    badges: [],
    tooltip: [...names, size(image.Size), image.Id].join('\n'),
    actions: [
      {
        label: 'Remove',
        symbol: '✕',
        run: () => acts.remove('images', id, `image ${names[0]}`, 'Its layers go unless others use them.')
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
