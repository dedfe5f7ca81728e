// The editor: CodeMirror with one state for each open file, so that each keeps its undo history and its place.
import {
  Compartment, EditorState, EditorView, HighlightStyle, LanguageDescription, autocompletion, bracketMatching, closeBrackets,
  closeBracketsKeymap, completionKeymap, crosshairCursor, cursorCharLeft, cursorCharRight, cursorLineDown, cursorLineUp, defaultKeymap,
  drawSelection, dropCursor, foldGutter, foldKeymap, gotoLine,
  highlightActiveLine, highlightActiveLineGutter, highlightSelectionMatches, highlightSpecialChars, history, historyField, historyKeymap,
  indentLess, indentMore, indentOnInput, indentUnit, indentWithTab, insertBracket, keymap, languages, lineNumbers, lintGutter, rectangularSelection, redo, search, Text,
  searchKeymap, setDiagnostics, syntaxHighlighting, tags, undo,
} from '../dist/codemirror.js';
import { first } from './dom.js';
import { digest } from '../core/digest.js';
import { indentation } from '../core/indent.js';
import { texts } from '../core/texts.js';

const look = EditorView.theme({
  '&': { color: 'var(--text)', backgroundColor: 'var(--surface)', fontSize: 'var(--code-size)' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55' },
  '.cm-content': { caretColor: 'var(--accent)', padding: '8px 0' },
  '.cm-cursor, .cm-dropCursor': { borderLeftColor: 'var(--accent)', borderLeftWidth: '2px' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'var(--selection)' },
  '.cm-activeLine': { backgroundColor: 'color-mix(in srgb, var(--accent) 5%, transparent)' },
  '.cm-gutters': { backgroundColor: 'var(--surface)', color: 'color-mix(in srgb, var(--muted) 78%, transparent)', border: 'none' },
  '.cm-activeLineGutter': { backgroundColor: 'transparent', color: 'var(--text)' },
  '.cm-lineNumbers .cm-gutterElement': { padding: '0 6px 0 12px' },
  '&.cm-focused .cm-matchingBracket': { backgroundColor: 'var(--accent-soft)', outline: '1px solid var(--accent)' },
  '.cm-selectionMatch': { backgroundColor: 'color-mix(in srgb, var(--warn) 24%, transparent)' },
  '.cm-searchMatch': { backgroundColor: 'color-mix(in srgb, var(--warn) 34%, transparent)', outline: 'none' },
  '.cm-panels': { backgroundColor: 'var(--sunken)', color: 'var(--text)', borderColor: 'var(--line)' },
  '.cm-panels input, .cm-panels button': { fontFamily: 'var(--sans)' },
  '.cm-button': { backgroundImage: 'none', backgroundColor: 'var(--raised)', border: '1px solid var(--line)', borderRadius: '6px' },
  '.cm-textfield': { backgroundColor: 'var(--surface)', border: '1px solid var(--line)', borderRadius: '6px' },
  '.cm-tooltip': { backgroundColor: 'var(--raised)', color: 'var(--text)', border: '1px solid var(--line)', borderRadius: '8px', overflow: 'hidden' },
  '.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--accent-ink)' },
  '.cm-foldPlaceholder': { backgroundColor: 'var(--hover)', border: 'none', color: 'var(--muted)' },
});

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword, tags.controlKeyword], color: 'var(--syn-keyword)' },
  { tag: [tags.string, tags.special(tags.string), tags.regexp, tags.character], color: 'var(--syn-string)' },
  { tag: [tags.number, tags.bool, tags.null, tags.atom], color: 'var(--syn-number)' },
  { tag: [tags.comment, tags.lineComment, tags.blockComment], color: 'var(--syn-comment)', fontStyle: 'italic' },
  { tag: [tags.function(tags.variableName), tags.function(tags.propertyName), tags.definition(tags.function(tags.variableName))], color: 'var(--syn-name)' },
  { tag: [tags.typeName, tags.className, tags.namespace, tags.tagName], color: 'var(--syn-type)' },
  { tag: [tags.meta, tags.processingInstruction, tags.annotation, tags.attributeName, tags.escape], color: 'var(--syn-meta)' },
  { tag: tags.invalid, color: 'var(--bad)' },
  { tag: tags.heading, fontWeight: '700' },
  { tag: tags.strong, fontWeight: '700' },
  { tag: tags.emphasis, fontStyle: 'italic' },
  { tag: tags.link, textDecoration: 'underline' },
]);

/** The grammar for a file: the project's language if the file has its first extension (other languages may share others), otherwise by name. */
async function grammar(/** @type {string} */ path, /** @type {import('../core/types.js').Language} */ language) {
  const own = LanguageDescription.matchLanguageName(languages, language.editor ?? '', false);
  if (path.endsWith(language.extensions?.[0] ?? '/')) return own ? own.load() : [];
  // By name, as a project has files of other languages.
  const found = LanguageDescription.matchFilename(languages, path) ?? own;
  return found ? found.load() : [];
}

/** The change that makes one text another, so that cursor and marks outside of it stay; null if there is none. */
function difference(/** @type {string} */ before, /** @type {string} */ after) {
  if (before === after) return null;
  const most = Math.min(before.length, after.length);
  let from = 0;
  while (from < most && before[from] === after[from]) from += 1;
  // The common end must not overlap with the common beginning.
  let same = 0;
  while (same < most - from && before[before.length - 1 - same] === after[after.length - 1 - same]) same += 1;
  return { from, to: before.length - same, insert: after.slice(from, after.length - same) };
}

/** What the key bar does other than typing a character. */
/** @typedef {import('@codemirror/view').Command} Command */
/** @typedef {{state: EditorState, scroll?: import('@codemirror/state').StateEffect<unknown>}} Shown of a file */
/** @typedef {import('../core/messages.js').Diagnostic} Diagnostic */

/** @type {Record<string, Command | undefined>} */
const PRESSED = {
  Tab: indentMore, '⇤': indentLess, '←': cursorCharLeft, '→': cursorCharRight, '↑': cursorLineUp, '↓': cursorLineDown, Undo: undo, Redo: redo,
};

/** Characters: in a longer text no grammar is followed, as each key would have it read what lies before the cursor. */
export const MAX_COLOURED = 300_000;

/** No file is open: nothing can be typed. */
const NOTHING = EditorState.create({ extensions: [look, EditorState.readOnly.of(true), EditorView.editable.of(false)] });

/** The line ends of a text, which are kept; null if the editor's default is right. */
function lineEnd(/** @type {string} */ text) {
  if (!text.includes('\r')) return null;
  const [all, pairs, feeds] = [/\r\n?|\n/g, /\r\n/g, /(?<!\r)\n/g].map((pattern) => text.match(pattern)?.length ?? 0);
  if (pairs === all) return '\r\n';
  return feeds === 0 && pairs === 0 ? '\r' : '\n'; // mixed: each CR is a character of its line
}

/** @typedef {import('../core/project.js').Project} Project */

export class Editor {
  #view;
  /** @type {Map<string, Shown>} */ #states = new Map(); // by path
  /** @type {string | null | undefined} */ #path = undefined; // null: no file is open; undefined: nothing is shown yet
  /** @type {Project | null} */ #project = null; // nothing is shown before there is one
  #syntax = new Compartment();
  /** @type {Diagnostic[]} */ #items = [];
  /** @type {Set<string>} */ #marked = new Set(); // files whose marks are set
  #taking = false;
  #host;
  #onCursor;

  /** @param {HTMLElement} host @param {{onCursor(at: {line: number, column: number} | null): void}} `onCursor`: null if no file is open */
  constructor(host, { onCursor }) {
    this.#host = host;
    this.#onCursor = onCursor;
    this.#view = new EditorView({ parent: host, state: NOTHING });
    host.hidden = true;
  }

  /** Edits another project, without the states of the previous one. */
  use(/** @type {Project} */ project) {
    this.#states.clear();
    this.#marked.clear();
    this.#path = undefined;
    this.#project = project;
    this.show(project.active);
  }

  show(/** @type {string | null} */ path) {
    // The same state again would reset the selection.
    if (path === this.#path && (path === null || this.#states.has(path))) return;
    this.#keep();
    this.#path = path;
    this.#host.hidden = path === null;
    if (path === null) {
      this.#view.setState(NOTHING);
      this.#onCursor(null);
      return;
    }
    const known = this.#states.get(path);
    this.#view.setState(known?.state ?? this.#fresh(path, this.#text(path)));
    // The fresh state is kept, too, so that the next visit finds it.
    this.#states.set(path, { state: this.#view.state, scroll: known?.scroll });
    if (known?.scroll) this.#view.dispatch({ effects: known.scroll });
    this.#colour(path);
    this.#mark();
    this.#told();
  }

  /** A file has another name now. */
  renamed(/** @type {string} */ from, /** @type {string} */ to) {
    this.#keep();
    const known = this.#states.get(from);
    if (known) this.#states.set(to, known);
    this.#states.delete(from);
    if (this.#path === from) {
      this.#path = to;
      this.#colour(to);
    }
  }

  forget(/** @type {string} */ path) {
    this.#states.delete(path);
    if (this.#path !== path) return;
    this.#path = undefined;
    this.#view.setState(NOTHING);
  }

  /** The undo history of a file, as text; null if the file was never shown here. */
  history(/** @type {string} */ path) {
    const state = path === this.#path ? this.#view.state : this.#states.get(path)?.state;
    if (!state) return null;
    // Without the text, which the project has: `#fresh` compares its digest.
    const { doc: _doc, ...rest } = state.toJSON({ history: historyField });
    return JSON.stringify(rest);
  }

  /** The workspace has another text for a file; the change can be undone. */
  replace(/** @type {string} */ path) {
    /** @type {Shown | undefined} */ const known = path === this.#path ? { state: this.#view.state } : this.#states.get(path);
    if (!known) return;
    const text = this.#text(path);
    // Line ends are a part of the state, and cannot be changed by an edit.
    if ((lineEnd(text) ?? '\n') !== known.state.lineBreak) {
      this.#renew(path, text);
      return;
    }
    const found = difference(known.state.doc.toString(), text.split(known.state.lineBreak).join('\n'));
    if (!found) return;
    const change = { ...found, insert: Text.of(found.insert.split('\n')) };
    // A file in the background is changed without being shown.
    if (path !== this.#path) {
      this.#states.set(path, { ...known, state: known.state.update({ changes: change }).state });
      return;
    }
    // This change comes from the workspace, so it is not sent back as an edit.
    this.#taking = true;
    this.#view.dispatch({ changes: change });
    this.#taking = false;
  }

  /** Other line ends need a new state, without the undo history. */
  #renew(/** @type {string} */ path, /** @type {string} */ text) {
    const state = this.#fresh(path, text);
    this.#states.set(path, { state });
    if (path !== this.#path) return;
    this.#view.setState(state);
    this.#colour(path);
  }

  focus() {
    if (this.#path) this.#view.focus();
    else first('#no-file button')?.focus();
  }

  get view() {
    return this.#view;
  }

  /** A key of the key bar: a character as if it were typed (with closing brackets and quotes), or a command of PRESSED. */
  press(/** @type {string} */ key) {
    if (!this.#path) return;
    const view = this.#view;
    const { state } = view;
    const command = PRESSED[key];
    // Tab without a selection inserts; with one it indents the lines.
    if (command && !(key === 'Tab' && state.selection.ranges.every(({ empty }) => empty))) command(view);
    else {
      const text = key === 'Tab' ? state.facet(indentUnit) : key;
      view.dispatch(insertBracket(state, text) ?? state.update(state.replaceSelection(text), { userEvent: 'input.type', scrollIntoView: true }));
    }
    view.focus();
  }

  /** Marks what compilers and tracebacks complain about, of all files. */
  diagnose(/** @type {Diagnostic[]} */ items) {
    this.#items = items;
    this.#marked.clear();
    this.#mark();
  }

  #mark() {
    if (!this.#path || this.#marked.has(this.#path)) return;
    this.#marked.add(this.#path); // once for each file: later its marks move with its text
    const { doc } = this.#view.state;
    // Lines that an edit has removed meanwhile have no place.
    const marks = this.#items
      .filter(({ path, line }) => path === this.#path && line >= 1 && line <= doc.lines)
      .map(({ line, column, severity, message }) => ({ ...this.#range(line, column), severity, message }));
    this.#view.dispatch(setDiagnostics(this.#view.state, marks));
  }

  /** From the column to the end of its line; the whole line where there is no column. */
  #range(/** @type {number} */ line, /** @type {number | null | undefined} */ column) {
    const { from, to } = this.#view.state.doc.line(line);
    const at = Math.min(to, from + Math.max(0, (column ?? 1) - 1));
    return { from: at, to: Math.max(at, to) };
  }

  /** Puts the cursor to a place of the file that is shown, in the middle of the view. */
  reveal(/** @type {number} */ line, /** @type {number | null | undefined} */ column) {
    if (!this.#path) return;
    const { doc } = this.#view.state;
    const { from } = this.#range(Math.min(Math.max(1, line), doc.lines), column);
    this.#view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: 'center' }) });
    this.focus();
  }

  #text(/** @type {string} */ path) {
    return this.#project?.text(path) ?? '';
  }

  #keep() {
    if (this.#path && this.#states.has(this.#path)) {
      this.#states.set(this.#path, { state: this.#view.state, scroll: this.#view.scrollSnapshot() });
    }
  }

  async #colour(/** @type {string} */ path) {
    const large = this.#view.state.doc.length > MAX_COLOURED;
    const language = this.#project?.language;
    const support = large || !language ? [] : await grammar(path, language).catch(() => []); // that part of the page did not load
    // The user may have gone to another file while the grammar was loading.
    if (this.#path === path) this.#view.dispatch({ effects: this.#syntax.reconfigure(support) });
  }

  #told() {
    const { state } = this.#view;
    const line = state.doc.lineAt(state.selection.main.head);
    this.#onCursor({ line: line.number, column: state.selection.main.head - line.from + 1 });
  }

  /** A state with the undo history of the same text, if one is stored. */
  #fresh(/** @type {string} */ path, /** @type {string} */ doc) {
    const extensions = this.#extensions(path, doc);
    const known = this.#project?.histories.get(path);
    if (known?.digest === digest(doc)) {
      try {
        return EditorState.fromJSON({ ...JSON.parse(known.json), doc }, { extensions }, { history: historyField });
      } catch {
        // stored by another version of the editor: starts without it
      }
    }
    return EditorState.create({ doc, extensions });
  }

  #extensions(/** @type {string} */ path, /** @type {string} */ text) {
    const { unit, size } = indentation({ path, text, config: this.#text('.editorconfig'), spaces: this.#project?.language.indent ?? 4 });
    const end = lineEnd(text);
    return [
      end === null ? [] : EditorState.lineSeparator.of(end), EditorView.clipboardInputFilter.of((pasted, state) => pasted.replace(/\r\n?|\n/g, state.lineBreak)),
      EditorState.phrases.of(texts.editor.phrases), look, syntaxHighlighting(colours), this.#syntax.of([]), lintGutter(), lineNumbers(), foldGutter(), highlightSpecialChars(), history(),
      drawSelection(), dropCursor(), EditorState.allowMultipleSelections.of(true), indentOnInput(), bracketMatching(), closeBrackets(),
      autocompletion(), rectangularSelection(), crosshairCursor(), highlightActiveLine(), highlightActiveLineGutter(),
      highlightSelectionMatches(), search({ top: true }), indentUnit.of(unit), EditorState.tabSize.of(size),
      // Ctrl-Enter runs the program (shortcuts.js).
      keymap.of([{ key: 'Mod-g', run: gotoLine }, ...closeBracketsKeymap, ...defaultKeymap.filter(({ key }) => key !== 'Mod-Enter'), ...searchKeymap, ...historyKeymap, ...foldKeymap, ...completionKeymap, indentWithTab]),
      EditorView.contentAttributes.of({ 'aria-label': texts.editor.codeOf(path), autocapitalize: 'off', autocorrect: 'off', spellcheck: 'false' }),
      EditorView.updateListener.of((update) => {
        if (update.docChanged && !this.#taking) this.#edited(update.state);
        if (update.docChanged || update.selectionSet) this.#told();
      }),
    ];
  }

  /** The text is made from the document when it is needed, and not at each key. */
  #edited(/** @type {EditorState} */ state) {
    if (this.#path) this.#project?.edit(this.#path, () => state.sliceDoc());
  }
}
