/** The question before something is lost. */
import { Dialog, showDialog } from '@jupyterlab/apputils';

/** Ask whether to remove `what`; the safe answer has the focus. */
export async function confirmRemoval(what: string, consequence: string): Promise<boolean> {
  const answer = await showDialog({
    title: `Remove ${what}?`,
    body: consequence,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Remove' })],
    defaultButton: 0
  });
  return answer.button.accept;
}
