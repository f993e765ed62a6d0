/** Dockerfile colours in `%%dockerfile` cells; every other cell keeps its own language. */
import { language, StreamLanguage, StreamParser } from '@codemirror/language';
import { dockerFile } from '@codemirror/legacy-modes/mode/dockerfile';
import { Compartment, EditorState, Prec } from '@codemirror/state';
import { EditorExtensionRegistry, IEditorExtensionFactory } from '@jupyterlab/codemirror';

const MAGIC = /^%%dockerfile\b/;
const LOOK_AHEAD = 40;

interface ICellState {
  first: boolean;
  inner: unknown;
}

const inner = dockerFile as StreamParser<unknown>;

/** The magic line is a line of IPython; the Dockerfile begins below it. */
const parser: StreamParser<ICellState> = {
  name: 'dockerfile-cell',
  startState: unit => ({ first: true, inner: inner.startState!(unit) }),
  copyState: state => ({ first: state.first, inner: structuredClone(state.inner) }),
  token: (stream, state) => {
    if (!state.first) {
      return inner.token(stream, state.inner);
    }
    if (stream.sol()) {
      stream.match(MAGIC);
      state.first = !stream.eol();
      return 'meta';
    }
    stream.skipToEnd();
    state.first = false;
    return 'attributeName';
  },
  blankLine: (state, unit) => inner.blankLine?.(state.inner, unit),
  languageData: { commentTokens: { line: '#' } }
};

const dockerfile = StreamLanguage.define(parser);

export const dockerfileCells: IEditorExtensionFactory<undefined> = {
  name: 'dockerlab:dockerfile-cells',
  factory: options => {
    const slot = new Compartment();
    // The language facet takes the value of highest precedence, so an empty slot changes nothing.
    const coloured = Prec.highest(dockerfile.extension);
    const toggle = EditorState.transactionExtender.of(transaction => {
      if (!transaction.docChanged) {
        return null;
      }
      const wanted = MAGIC.test(transaction.newDoc.sliceString(0, LOOK_AHEAD));
      const present = transaction.startState.facet(language) === dockerfile;
      return wanted === present ? null : { effects: slot.reconfigure(wanted ? coloured : []) };
    });
    const source = options.model.sharedModel.getSource().slice(0, LOOK_AHEAD);
    const start = slot.of(MAGIC.test(source) ? coloured : []);
    return EditorExtensionRegistry.createImmutableExtension([start, toggle]);
  }
};
