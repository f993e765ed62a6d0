/** Wiring: which services, which place. */
import {
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { IEditorExtensionRegistry } from '@jupyterlab/codemirror';
import { LabIcon } from '@jupyterlab/ui-components';

import { BridgeApi } from './api';
import { dockerfileCells } from './dockerfileCells';
import { DockerModel } from './model';
import { DockerPanel } from './panel';
import iconSource from '../style/dockerlab.svg';

const icon = new LabIcon({ name: 'dockerlab:icon', svgstr: iconSource });

const sidebar: JupyterFrontEndPlugin<void> = {
  id: 'dockerlab:sidebar',
  description: 'Shows the containers and images of one Docker host, live.',
  autoStart: true,
  optional: [ILayoutRestorer],
  activate: (app: JupyterFrontEnd, restorer: ILayoutRestorer | null) => {
    const model = new DockerModel(new BridgeApi(app.serviceManager.serverSettings));
    const panel = new DockerPanel(model);
    panel.title.icon = icon;
    panel.title.caption = 'Containers and images';
    restorer?.add(panel, panel.id);
    app.shell.add(panel, 'left', { rank: 300 });
  }
};

const cells: JupyterFrontEndPlugin<void> = {
  id: 'dockerlab:dockerfile-cells',
  description: 'Colours %%dockerfile cells as Dockerfiles.',
  autoStart: true,
  requires: [IEditorExtensionRegistry],
  activate: (_: JupyterFrontEnd, registry: IEditorExtensionRegistry) => {
    registry.addExtension(dockerfileCells);
  }
};

export default [sidebar, cells];
