// What the editor uses of CodeMirror 6; bundled to static/dist/codemirror.js.
export { Text, EditorState, Compartment, EditorSelection, StateEffect, StateField } from '@codemirror/state';
export {
  EditorView, keymap, lineNumbers, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars,
  drawSelection, dropCursor, rectangularSelection, crosshairCursor, placeholder,
} from '@codemirror/view';
export {
  cursorCharLeft, cursorCharRight, cursorLineDown, cursorLineUp, defaultKeymap, history, historyField, historyKeymap, indentLess,
  indentMore, indentWithTab, redo, undo,
} from '@codemirror/commands';
export {
  LanguageDescription, HighlightStyle, syntaxHighlighting, bracketMatching, indentOnInput, indentUnit,
  foldGutter, foldKeymap,
} from '@codemirror/language';
export { languages } from '@codemirror/language-data';
export { searchKeymap, gotoLine, highlightSelectionMatches, search } from '@codemirror/search';
export { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, insertBracket } from '@codemirror/autocomplete';
export { setDiagnostics, lintGutter, lintKeymap } from '@codemirror/lint';
export { tags } from '@lezer/highlight';
